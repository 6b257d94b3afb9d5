"""Every defect: what it does to pixels, mask and truth, and how often."""

import numpy as np
import pytest
from dia_vetting.embedded.schemas import SIM_TRUTH_ARTEFACT
from dia_vetting.embedded.survey import detector_defects, list_visits, load_config, stray_light
from dia_vetting.embedded.survey.artefacts import ImageContext, Patch, artefact_table, count_artefacts
from dia_vetting.embedded.survey.cosmic_rays import cosmic_rays
from dia_vetting.embedded.survey.psf_model import visit_psf
from dia_vetting.embedded.survey.render import SourceList
from dia_vetting.embedded.survey.visits import sky_noise
from dia_vetting.masks import MaskBit

SEED = 11


def contexts(preset="lsst", size="tiny", template=False, **defects):
    overrides = {"defects": defects, "size": {"science_visits": 30, "template_visits": 30}}
    config = load_config(preset, size=size, overrides=overrides)
    visits = [v for v in list_visits(config, SEED) if v.is_template == template]
    psf = visit_psf(config, SEED, visits[0], 0)
    return [ImageContext(config, SEED, v, 0, sky_noise(config, v), psf) for v in visits]


def is_poisson(count, expected):
    return abs(count - expected) < 4.5 * np.sqrt(expected)


def test_cosmic_rays_have_their_rates():
    images = contexts(muon=40.0, worm=80.0, spot=160.0)
    causes = [p.cause for image in images for p in cosmic_rays(image)]
    for cause, rate in (("muon", 40.0), ("worm", 80.0), ("spot", 160.0)):
        assert is_poisson(causes.count(cause), rate * 0.16 * len(images)), cause


def test_templates_have_fewer():
    images = contexts(template=True, muon=0.0, worm=0.0, spot=400.0, template_factor=0.25)
    count = sum(len(cosmic_rays(image)) for image in images)
    assert is_poisson(count, 100.0 * 0.16 * len(images))


def test_only_obvious_cosmic_rays_are_masked_at_the_configured_share():
    images = contexts(muon=200.0, worm=100.0, spot=300.0, cosmic_ray_masked=0.6)
    patches = [(p, image.noise) for image in images for p in cosmic_rays(image) if len(p)]
    obvious = [bool(p.bit) for p, noise in patches if p.electrons.max() >= 20 * noise]
    faint = [bool(p.bit) for p, noise in patches if p.electrons.max() < 20 * noise]
    assert np.mean(obvious) == pytest.approx(0.6, abs=0.05)
    assert faint
    assert not any(faint)


def test_muons_leave_the_charge_of_their_path():
    """80 electrons per micron and at least the thickness of the chip; thick chips give longer tracks."""
    length = {}
    for preset in ("hsc", "ztf"):
        images = contexts(preset, muon=300.0, worm=0.0, spot=0.0, muon_deposit=80.0)
        patches = [p for image in images for p in cosmic_rays(image)]
        whole = [p for p in patches if len(p) and p.x.min() > 3 and p.x.max() < 396 and 3 < p.y.min() < 390]
        charge = np.array([p.electrons.sum() for p in whole])
        minimum = 80.0 * images[0].config.camera.thickness * 0.8
        assert charge.min() > 0.9 * minimum
        length[preset] = np.median([max(np.ptp(p.x), np.ptp(p.y)) for p in whole])
    assert length["hsc"] > 3 * length["ztf"]


def test_worms_wriggle_and_muons_do_not():
    def straightness(patch):
        points = np.stack([patch.x - patch.x.mean(), patch.y - patch.y.mean()])
        values = np.linalg.eigvalsh(points @ points.T)
        return values[0] / values[1]

    images = contexts("hsc", muon=100.0, worm=200.0, spot=0.0)
    long_ones = [p for image in images for p in cosmic_rays(image) if len(p) > 25]
    by_cause = {c: np.median([straightness(p) for p in long_ones if p.cause == c]) for c in ("muon", "worm")}
    assert by_cause["worm"] > 5 * by_cause["muon"]


def test_spots_follow_their_spectrum():
    images = contexts(muon=0.0, worm=0.0, spot=2000.0, spot_energy=500.0, spot_slope=2.0)
    charge = np.array([p.electrons.sum() for image in images for p in cosmic_rays(image) if len(p)])
    inner = np.sort(charge)
    assert (inner > 1000).mean() == pytest.approx(0.5, abs=0.04)  # N(>E) goes as 1 / E


def test_streaks_cross_and_are_masked_at_the_configured_share():
    images = contexts(streak=30.0, streak_masked=0.5)
    patches = [p for image in images for p in stray_light.streaks(image)]
    assert is_poisson(len(patches), 30.0 * 0.16 * len(images))
    assert np.mean([p.bit == MaskBit.STREAK for p in patches]) == pytest.approx(0.5, abs=0.15)
    assert np.median([max(np.ptp(p.x), np.ptp(p.y)) for p in patches if len(p)]) > 250
    assert all((p.electrons > 0).all() for p in patches)


def test_glints_lie_on_a_line():
    images = contexts(glint=20.0, glint_flashes=[3, 3])
    patches = stray_light.glints(images[0])
    assert len(patches) % 3 == 0
    x, y = (np.array([np.average(getattr(p, a), weights=p.electrons) if len(p) else np.nan for p in patches])
            for a in ("x", "y"))  # fmt: skip
    rows = [s for s in range(0, len(x), 3) if 20 < np.min([x[s : s + 3], y[s : s + 3]])]
    rows = [s for s in rows if np.max([x[s : s + 3], y[s : s + 3]]) < 380]
    assert rows
    for s in rows:
        assert x[s + 2] - x[s + 1] == pytest.approx(x[s + 1] - x[s], abs=0.3)
        assert y[s + 2] - y[s + 1] == pytest.approx(y[s + 1] - y[s], abs=0.3)


def test_ghosts_are_rings_that_templates_share():
    bright = SourceList.points(200.0, 200.0, 1e6)
    science = contexts(ghost=10.0)
    assert is_poisson(sum(len(stray_light.ghosts(i, bright)) for i in science), 10.0 * 0.16 * len(science))
    assert any(stray_light.ghosts(science[0], bright) != stray_light.ghosts(i, bright) for i in science[1:])
    template = contexts(template=True, ghost=40.0, template_factor=1.0)
    first, second = (stray_light.ghosts(i, bright) for i in template[:2])
    assert len(first) == len(second) > 0
    assert all(np.array_equal(a.x, b.x) for a, b in zip(first, second, strict=True))


def test_hot_pixels_stay_and_some_blink():
    images = contexts(hot_pixel=2000.0, hot_pixel_masked=0.5)
    sets = [{(int(p.x[0]), int(p.y[0])) for p in detector_defects.hot_pixels(image)} for image in images]
    always, ever = set.intersection(*sets), set.union(*sets)
    assert is_poisson(len(ever), 2000.0 * 0.16)
    assert len(always) / len(ever) == pytest.approx(0.8, abs=0.08)
    patches = detector_defects.hot_pixels(images[0])
    assert np.mean([p.bit == MaskBit.BAD for p in patches]) == pytest.approx(0.5, abs=0.12)
    level = np.array([p.electrons[0] for p in patches])
    assert 250 <= level.min() < level.max() <= 8000


def test_columns():
    image = contexts(hot_column=10.0, dead_column=5.0)[0]
    hot = detector_defects.hot_columns(image)
    assert len(hot) == 4  # 10 per 1000 columns, of 400
    assert all(np.ptp(p.x) == 0 and len(p) > 20 for p in hot)
    electrons, mask = np.full((400, 400), 100.0, np.float32), np.zeros((400, 400), np.uint32)
    dead = detector_defects.dead_columns(image, electrons, mask)
    assert len(dead) == 2
    assert np.allclose(electrons[dead[0].y, dead[0].x], 10.0)
    assert (mask[dead[0].y, dead[0].x] == MaskBit.BAD).all()


def test_bleeding_keeps_the_charge():
    image = contexts()[0]
    well = image.config.camera.full_well
    electrons, mask = np.full((400, 400), 500.0, np.float32), np.zeros((400, 400), np.uint32)
    electrons[200, 150], electrons[60, 60] = 12.5 * well, 0.5 * well
    before = electrons.sum(dtype=float)
    patches = detector_defects.saturate(image, electrons, mask)
    assert electrons.sum(dtype=float) == pytest.approx(before, rel=1e-6)
    assert electrons.max() <= well
    assert 10 <= (electrons[:, 150] > 0.9 * well).sum() <= 13
    assert len(patches) == 1
    assert (mask[patches[0].y, patches[0].x] == MaskBit.SAT).all()
    assert mask[60, 60] == 0
    assert mask[200, 149] == MaskBit.SAT


def test_bleeding_stops_at_the_edge():
    image = contexts()[0]
    electrons, mask = np.zeros((400, 400), np.float32), np.zeros((400, 400), np.uint32)
    electrons[2, 5] = 50 * image.config.camera.full_well
    detector_defects.saturate(image, electrons, mask)
    assert (electrons[:20, 5] == image.config.camera.full_well).all()


def test_crosstalk_is_the_mirror_image_in_the_next_amplifier():
    image = contexts(crosstalk=1e-3)[0]  # 4 amplifiers of 100 columns
    patch = Patch("saturated", np.array([10, 11]), np.array([50, 50]), np.array([1e5, 2e4]), MaskBit.SAT)
    copy = detector_defects.crosstalk(image, [patch])[0]
    assert copy.x.tolist() == [189]
    assert copy.y.tolist() == [50]
    assert copy.electrons[0] == pytest.approx(100.0)


def test_edges():
    image = contexts(dead_edge=3, edge_width=6, edge_glow=1.0)[0]
    mask = np.zeros((400, 400), np.uint32)
    detector_defects.edges(image, mask)
    assert (mask[:, :3] & MaskBit.NO_DATA).all()
    assert (mask[-3:] & MaskBit.NO_DATA).all()
    assert mask[200, 3] == mask[200, 8] == MaskBit.EDGE
    assert not mask[9:-9, 9:-9].any()
    (glow,) = detector_defects.edge_glow(image)
    assert not mask[glow.y, glow.x].all()
    assert glow.electrons.max() == pytest.approx(image.noise, rel=1e-5)
    assert not detector_defects.edge_glow(contexts(edge_glow=0.0)[0])


def test_holes_are_in_templates_only():
    mask = np.zeros((400, 400), np.uint32)
    science = contexts(template_nan_patch=50.0)
    assert not detector_defects.nan_patches(science[0], mask)
    template = contexts(template=True, template_nan_patch=50.0)
    patches = [p for image in template for p in detector_defects.nan_patches(image, mask)]
    assert is_poisson(len(patches), 50.0 * 0.16 * len(template))
    assert (mask[patches[0].y, patches[0].x] == MaskBit.NO_DATA).all()


def test_aureole_has_the_configured_light():
    image = contexts(spikes=0.0)[0]
    light = stray_light.aureoles(image, SourceList.points(200.0, 200.0, 1e7), 0.0)
    assert 0.3 < light.sum() / (image.config.psf.aureole * 1e7) < 1.0
    spiky = stray_light.aureoles(contexts(spikes=0.01)[0], SourceList.points(200.0, 200.0, 1e7), 0.0) - light
    assert spiky[240, 240] > 20 * spiky[200, 256]  # at 45 degrees


def test_truth_rows_are_pieces_of_long_defects():
    x = np.arange(100)
    patches = [
        Patch("streak", x, x, np.full(100, 2.0), MaskBit.STREAK),
        Patch("spot", np.array([5, 6]), np.array([7, 7]), np.array([30.0, 10.0])),
        Patch("worm", np.zeros(0, int), np.zeros(0, int), np.zeros(0)),
    ]
    table = SIM_TRUTH_ARTEFACT.check(artefact_table(patches, noise=10.0, per_njy=2.0))
    streak = table[table["cause"] == "streak"]
    assert len(streak) == 7
    assert set(streak["artefact_id"]) == {1}
    assert streak["masked"].all()
    assert streak["flux"].sum() == pytest.approx(100.0)
    assert (streak["x_max"] - streak["x_min"]).max() < 16
    (spot,) = table[table["cause"] == "spot"]
    assert (spot["x_min"], spot["x_max"], spot["flux"], spot["peak"]) == (5, 6, 20.0, 3.0)
    assert spot["x"] == pytest.approx(5.25)
    assert not spot["masked"]
    assert len(artefact_table([], 1.0, 1.0)) == 0


def test_counts_are_of_defects_not_pieces():
    long_one = Patch("streak", np.arange(100), np.arange(100), np.ones(100), MaskBit.STREAK)
    spot = Patch("spot", np.array([5]), np.array([7]), np.array([30.0]))
    tables = [artefact_table(p, 1.0, 1.0) for p in ([long_one, spot, spot], [spot], [])]
    counts = count_artefacts(tables)
    assert [tuple(row) for row in counts] == [("spot", 2, 0, 3), ("streak", 1, 1, 0)]
    assert len(count_artefacts([])) == 0
