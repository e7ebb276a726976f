"""What GPU exporters print, in every wording of the field, against what is read from it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from deployments.gateways.metrics import WANTED, Series, parse, readings
from deployments.gateways.metrics.exposition import MAX_LINE, read_labels
from deployments.gateways.metrics.readings import meaning

GOLDEN = Path(__file__).parents[3] / "golden" / "metrics"
PAGES = sorted(path.stem for path in GOLDEN.glob("*.txt"))
UUID = "GPU-604ac76c-d9cf-fef3-62e9-d92044ab6e52"


def page(name: str) -> bytes:
    return (GOLDEN / f"{name}.txt").read_bytes()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_as_recorded(name: str) -> None:
    found = [asdict(reading) for reading in readings(parse(page(name), WANTED).series)]
    assert json.loads(json.dumps(found)) == json.loads((GOLDEN / f"{name}.json").read_text())


def one(text: str) -> dict[str, object]:
    found = readings(parse(text.encode(), WANTED).series)
    assert len(found) == 1
    return asdict(found[0])


def test_a_number_that_is_cut_is_not_a_number() -> None:
    text = page("dcgm-4").decode()
    whole = text.index("DCGM_FI_DEV_POWER_USAGE{gpu") + text[
        text.index("DCGM_FI_DEV_POWER_USAGE{gpu") :
    ].index("\n")
    found = parse(text[: whole - 8].encode(), WANTED)
    assert found.cut
    assert [reading.power for reading in readings(found.series)] == [None, None]


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_no_cut_makes_a_figure_that_was_not_there(cut: int) -> None:
    whole = {(s.name, s.labels["gpu"]): s.value for s in parse(page("dcgm-4"), WANTED).series}
    raw = page("dcgm-4")
    for part in parse(raw[: len(raw) - cut], WANTED).series:
        assert whole[part.name, part.labels["gpu"]] == part.value


@pytest.mark.parametrize(
    "value", ["NaN", "+Inf", "-Inf", "-1", "2147483632", "9223372036854775794", "140737488355328.000000"]
)
def test_what_is_no_figure_is_none(value: str) -> None:
    text = f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="{UUID}"}} {value}\n'
    text += f'DCGM_FI_DEV_FB_USED{{gpu="0",UUID="{UUID}"}} {value}\n'
    text += f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="{UUID}"}} {value}\n'
    found = one(text)
    assert (found["temperature"], found["memory_used"], found["utilisation"]) == (None, None, None)


def test_the_share_of_busy_time_comes_before_utilisation() -> None:
    label = f'{{gpu="0",UUID="{UUID}"}}'
    both = f"DCGM_FI_DEV_GPU_UTIL{label} 100\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{label} 0.25\n"
    assert one(both)["utilisation"] == 25.0
    assert one(f"DCGM_FI_DEV_GPU_UTIL{label} 100\n")["utilisation"] == 100.0
    assert (
        one(f"DCGM_FI_DEV_GPU_UTIL{label} 9\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{label} NaN\n")["utilisation"]
        == 9.0
    )


def test_a_blank_figure_leaves_the_word_to_the_next_one() -> None:
    """AMD's chips have one or the other; 65535 is what its library gives for none."""
    labels = '{gpu_id="0",gpu_uuid="u"}'
    found = one(
        f"gpu_package_power{labels} 65535\ngpu_average_package_power{labels} 180\n"
        f"gpu_junction_temperature{labels} 65535\ngpu_edge_temperature{labels} 51\n"
    )
    assert (found["power"], found["temperature"]) == (180.0, 51.0)


def test_repeated_series_are_one_device() -> None:
    assert len(readings(parse(page("dcgm-4") * 3, WANTED).series)) == 2


@pytest.mark.parametrize(
    "line",
    [
        'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="x} 5',
        'DCGM_FI_DEV_GPU_TEMP{gpu="0" UUID="x"} 5',
        "DCGM_FI_DEV_GPU_TEMP{gpu=0} 5",
        'DCGM_FI_DEV_GPU_TEMP{gpu="0",gpu="1"} 5',
        'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 5 6 7',
        'DCGM_FI_DEV_GPU_TEMP{gpu="0"}',
        'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 1_0',
        'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 0x10',
        'DCGM_FI_DEV_GPU_TEMP{gpu="0"} many',
        "DCGM_FI_DEV_GPU_TEMP{" + ",".join(f'l{n}="v"' for n in range(100)) + "} 5",
        'DCGM_FI_DEV_GPU_TEMP{gpu="' + "a" * MAX_LINE + '"} 5',
    ],
)
def test_a_line_that_is_none_is_counted_and_left_out(line: str) -> None:
    good = f'DCGM_FI_DEV_GPU_TEMP{{gpu="1",UUID="{UUID}"}} 41 1712345678000\n'
    found = parse(f"{line}\n{good}".encode(), WANTED)
    assert found.odd == 1 and [series.value for series in found.series] == [41.0]


def test_other_names_and_other_bytes_cost_nothing() -> None:
    noise = b"<html>\xff\xfe\n# TYPE\n{}\nup 1\nnode_load1 0.5\nDCGM_FI_DEV_GPU_TEMPERATURE 3\n\n"
    found = parse(noise, WANTED)
    assert (found.series, found.odd, found.cut) == ([], 0, False)


def test_labels_are_unescaped_bounded_and_without_control_characters() -> None:
    assert read_labels(r'a="x\"y\\z\n",b="",') == {"a": 'x"y\\z\n', "b": ""}
    text = f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="{UUID}",modelName="a\x00b\\n{"c" * 900}",pod="<b>",namespace="n"}} 4\n'
    found = one(text)
    assert found["product"] == "ab" + "c" * 118 and found["holders"] == (("n", "<b>"),)


def test_a_page_of_one_million_lines_is_bounded() -> None:
    text = "".join(f'DCGM_FI_DEV_GPU_TEMP{{gpu="{n}",UUID="u{n}"}} 4\n' for n in range(3000))
    assert len(readings(parse(text.encode(), WANTED).series)) == 256


@pytest.mark.timeout(60)
def test_a_page_made_to_be_slow_is_not() -> None:
    """Half a page of lines of braces: with a pattern that tries each brace it takes minutes."""
    line = "DCGM_FI_DEV_GPU_UTIL{" + "}" * 16_000 + " a b c\n"
    found = parse((line * 300).encode(), WANTED)
    assert (found.odd, found.series) == (300, [])
    blanks = 'DCGM_FI_DEV_GPU_UTIL{gpu="0"' + " " * 16_000 + '"} 1\n'
    assert parse((blanks * 300).encode(), WANTED).odd == 300


def test_names_that_nobody_asked_for_are_not_remembered() -> None:
    before = meaning.cache_info().currsize
    for number in range(20):
        name = f"gpu_{number}_" + "x" * 100_000 + "_gpu_used_vram"
        assert parse(f'{name}{{gpu_id="0",gpu_uuid="u"}} 1\n'.encode(), WANTED).series == []
    assert meaning.cache_info().currsize == before


def test_names_of_the_field_with_any_prefix_are_known_and_others_are_not() -> None:
    for name in ("gpu_used_vram", "amd_gpu_used_vram", "site_2_gpu_used_vram", "dcgm_fb_used"):
        assert name in WANTED, name
    for name in ("gpu_used_vram_total", "xgpu_used_vram", "DCGM_FI_DEV_FB_USED_2", "_" * 201):
        assert name not in WANTED, name


def test_devices_without_a_uuid_are_told_apart_by_node_and_index() -> None:
    lines = "".join(f'DCGM_FI_DEV_GPU_TEMP{{gpu="{n}"}} 4\n' for n in (0, 1))
    found = readings(parse(lines.encode(), WANTED).series, node_of=lambda _: "node-9")
    assert [reading.key for reading in found] == ["node-9/0", "node-9/1"]


def test_a_device_is_as_old_as_its_newest_figure() -> None:
    labels = {"gpu": "0", "UUID": UUID}
    series = [
        Series("DCGM_FI_DEV_GPU_TEMP", labels, 40.0, 30.0),
        Series("DCGM_FI_DEV_GPU_UTIL", labels, 4.0, 20.0),
        Series("DCGM_FI_DEV_XID_ERRORS", labels, 0.0),
    ]
    assert readings(series)[0].age == 20.0
