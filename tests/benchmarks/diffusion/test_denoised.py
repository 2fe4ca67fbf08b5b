from benchmarks.diffusion.denoised import snapshots, summary, until


def test_steps_are_counted_to_the_first_that_is_good_enough() -> None:
    curve = {0: (0.5, 0.1), 1: (0.3, 0.4), 2: (0.2, 0.3), 4: (0.1, 0.9)}
    assert until(curve, (0.25, 0.35)) == (2, 1)
    assert until(curve, (0.05, 0.95)) == (None, None)
    assert until(curve, (0.5, 0.1)) == (0, 0)


def test_snapshots_are_dense_first_and_end_at_the_end() -> None:
    found = snapshots(60)
    assert found[:3] == (1, 2, 3) and found[-1] == 60
    assert list(found) == sorted(set(found))
    assert snapshots(2) == (1, 2)


def test_a_start_that_never_gets_there_counts_as_more_than_all_steps() -> None:
    scratch = [{0: (0.9, 0.0), 2: (0.5, 0.5)}] * 3
    other = [{0: (0.4, 0.6), 2: (0.3, 0.7)}, {0: (0.8, 0.1), 2: (0.6, 0.4)}, {0: (0.8, 0.1), 2: (0.6, 0.4)}]
    found = summary({"random": scratch, "denoised": other}, 2)
    assert found["random"]["l1"] == {"reached": 3, "median_steps": 2, "at_0": 0.9, "at_end": 0.5}
    assert found["denoised"]["l1"]["reached"] == 1 and found["denoised"]["l1"]["median_steps"] == 3
    assert found["denoised"]["ssim"]["at_0"] == 0.2667
