"""The core's sentences in Chinese: every template by itself, names left alone, lists, several sentences."""

from __future__ import annotations

import gettext

import pytest
from django.utils import translation

from deployments.sentences import FIGURE, HOLE, Catalogue, pairs, said
from tests.catalogue import check

ROOT_MO = (check.ROOT / check.SENTENCES).with_suffix(".mo")


@pytest.fixture(autouse=True)
def in_chinese():
    with translation.override("zh-hans"):
        yield


def figure(name: str, number: int) -> str:
    return f"{number} GiB" if name.startswith("gib") else str(number)


def test_every_template_is_found_again_by_what_it_says():
    with ROOT_MO.open("rb") as opened:
        known = pairs(gettext.GNUTranslations(opened))
    wrong = []
    for source, target in known.items():
        holes = dict.fromkeys(HOLE.findall(source))
        held = {
            name: figure(name, at + 3) if FIGURE.fullmatch(name) else f"v{at}q-{name[:3]}"
            for at, name in enumerate(holes)
        }
        if source == "{count} {words}":  # it counts what is known, and nothing else
            held["words"] = "not ready"
        text, wanted = (HOLE.sub(lambda hole, held=held: held[hole[1]], each) for each in (source, target))
        wanted = wanted.replace("not ready", "未就绪")
        got = said(text)
        if got.replace(" ", "") != wanted.replace(" ", ""):
            wrong.append((text, got, wanted))
    assert wrong == []
    assert len(known) > 1000


@pytest.mark.parametrize(
    ("english", "wanted"),
    [
        ("", ""),
        ("The GPU exporters do not answer.", "GPU 导出器没有应答。"),
        ("The claim models-0 gets no volume.", "PVC models-0 得不到卷。"),
        # A phrase in a hole, at the beginning of a sentence or within it.
        ("No node has enough free memory, so r1-server-0 cannot start.", "没有节点有足够的空闲内存，因此 r1-server-0 无法启动。"),
        (
            "No node takes it (10 with too few free GPUs, 1 cordoned off), so r1-server-0 cannot start.",
            "没有节点可以接纳它（10 个空闲 GPU 太少，1 个已停止调度），因此 r1-server-0 无法启动。",
        ),
        (
            "“a_b” cannot be used: a namespace has lower-case letters, digits and hyphens, and starts and ends"
            " with a letter or a digit. “a-b” would do.",
            "不能使用 “a_b”：命名空间由小写字母、数字和连字符组成，并以字母或数字开头和结尾。可以用 “a-b”。",
        ),
        # Several sentences, also where a hole holds one.
        (
            "The cluster's API server failed to answer. Attempt 2 of 5 in 10 s.",
            "集群的 API 服务器未能应答。10 秒后进行第 2 次尝试，共 5 次。",
        ),
        ("This deployment was uninstalled. Install it anew.", "此部署已被卸载。请重新安装。"),
        # A list whose parts are sentences of their own.
        (
            "The quota of Default on practice is too small. GPUs: it may use 2, 2 are taken and this asks for 1,"
            " 1 too much; memory: it may use 8Gi, 2Gi are taken and this asks for 8Gi, 2Gi too much.",
            "Default 在 practice 上的配额不足。GPUs：可用 2，已占用 2，此处要求 1，超出 1；内存：可用 8Gi，已占用 2Gi，"
            "此处要求 8Gi，超出 2Gi。",
        ),
        (
            "GPUs: asks for 4 instead of 2, 6 of 8 used by others, 2 left, 2 too much; memory: asks for 8Gi, 2Gi of"
            " 16Gi used, 14Gi left",
            "GPUs：请求 4，而不是 2，8 中已由其他部署占用 6，剩余 2，超出 2；内存：请求 8Gi，16Gi 中已用 2Gi，剩余 14Gi",
        ),
        # What failed, and why, each by itself; the title of an operation is ours.
        (
            "Nothing is installed yet: “Install r1” failed. It did not become ready within 10 minutes.",
            "尚未安装任何内容：“安装 r1”失败。它在 10 分钟内没有就绪。",
        ),
        (
            "r1-0 fails its liveness probe, and it is started again and again (1 restart).",
            "r1-0 的存活探针失败，并反复重新启动（重启 1 次）。",
        ),
        # Teams and clusters have names.
        ("The quota of server on chat leaves too little", "server 在 chat 上的配额不足"),
        ("r1 answered the chat after 0.1 s, 192 tokens/s, on CPU", "r1 在 0.1 秒后应答了聊天，192 token/秒，在 CPU 上"),
        # A blank parts two holes: what stands before it is not torn apart.
        (
            "“exec” of the user runs a program to get the credential. This is not supported.",
            "用户的 “exec” 运行程序来获取凭据。不支持这种用法。",
        ),
        # Names are nobody's to translate, whatever they are.
        ("cancelled by admin", "由 admin 取消"),
        ("server/chat: OOMKilled", "server/chat：OOMKilled"),
        ("This needs the role operator; yours is viewer.", "这需要操作员角色；你的角色是查看者。"),
        ("memory has a profile named chat already.", "memory 已有名为 chat 的配置档案。"),
    ],
)  # fmt: skip
def test_what_is_said(english: str, wanted: str):
    assert said(english) == wanted


@pytest.mark.parametrize(
    "words",
    [
        "0/3 nodes are available: 1 node(s) had untolerated taint {a: }, 2 Insufficient cpu. preemption: 0/3"
        " nodes are available: No preemption victims found.",
        'Back-off pulling image "ollama/ollama:0.9.6"',
        "One of these nodes",
        "Readiness probe failed: Error: model 'deepseek-r1:1.5b' not found",
        "A sentence that nobody wrote. Another one.",
        "x" * 5000,
    ],
)
def test_the_clusters_own_words_stay_as_they_are(words: str):
    assert said(words) == words


def test_in_english_nothing_is_done():
    with translation.override("en"):
        assert said("The GPU exporters do not answer.") == "The GPU exporters do not answer."
    with translation.override("de"):
        assert said("The GPU exporters do not answer.") == "The GPU exporters do not answer."
    with translation.override(None):
        assert said("The GPU exporters do not answer.") == "The GPU exporters do not answer."


def test_blanks_stand_between_chinese_and_latin_letters_only():
    one = Catalogue({"{what} is {size}": "{what}有 {size}", "the claim": "申领", "large": "大"})
    assert one.text("the claim is large") == "申领有大"
    assert one.text("r1 is 8 GiB") == "r1 有 8 GiB"
