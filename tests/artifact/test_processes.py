from codling.artifact.processes import any_process, is_lead, wait_for_all


def test_an_only_process_leads_and_waits_for_nobody() -> None:
    assert is_lead()
    wait_for_all("anything")
    assert any_process(True)
    assert not any_process(False)
