"""As an auditor would: from a question to an exported proof."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import StorageState, expect

from tests.e2e.conftest import Opens, complaints

VERIFIER = Path(__file__).resolve().parents[2] / "docs" / "verify_export.py"


def test_from_a_question_to_an_exported_proof(opens: Opens, signed_in: StorageState, tmp_path: Path) -> None:
    page = opens(storage_state=signed_in).new_page()
    said = complaints(page)
    page.goto("/")
    page.get_by_role("link", name="Audit", exact=True).click()
    page.locator("summary", has_text="Action").click()
    page.get_by_role("link", name="Sign in", exact=True).click()
    expect(page.locator("tbody tr")).not_to_have_count(0)
    page.get_by_role("button", name="Sign in", exact=True).first.click()
    expect(page.locator("tr.entry")).to_contain_text("Hash")
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator("#seal")).to_contain_text("Chain verified")
    page.goto("/audit/proof")
    key = page.locator("dd code").first.inner_text()
    page.goto("/audit/export?action=session.begin")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    path = tmp_path / "export.jsonl"
    download.value.save_as(path)
    proof = subprocess.run(
        [sys.executable, str(VERIFIER), str(path), "--key", key], capture_output=True, text=True
    )
    assert proof.returncode == 0, proof.stdout
    assert "The chain holds" in proof.stdout
    path.write_text("session.began".join(path.read_text().rsplit("session.begin", 1)))
    assert subprocess.run([sys.executable, str(VERIFIER), str(path)], capture_output=True).returncode == 1
    assert said == []
