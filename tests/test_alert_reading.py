"""Files of alerts: told by content, read one by one, and whatever is wrong with them is an `AlertError`."""

import gzip
import io
import time
from collections.abc import Callable
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_samples import CUTOUTS, container, message, parquet, rubin_record, write_schemas, ztf_record
from dia_vetting.alerts.avro_schemas import SchemaFolder
from dia_vetting.alerts.cutouts import alert_cutouts
from dia_vetting.alerts.packets import Alert, AlertError
from dia_vetting.alerts.reading import alert_files, read_alerts
from dia_vetting.alerts.rubin import rubin_alert
from dia_vetting.alerts.ztf import ztf_alert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RUBIN = [rubin_record(n) for n in range(3)]
ZTF = [ztf_record(n) for n in range(3)]
FORMATS: dict[str, bytes] = {
    "container": container(RUBIN),
    "deflate": container(RUBIN, "deflate"),
    "wire": b"".join(message(record) for record in RUBIN),
    "parquet": parquet(RUBIN),
    "parquet with checksums": parquet(RUBIN, write_page_checksum=True, compression="zstd"),
    "gzip": gzip.compress(message(RUBIN[0]), mtime=0),
    "ztf": container(ZTF),
    "ztf parquet": parquet(ZTF),
}


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> SchemaFolder:
    return SchemaFolder(write_schemas(tmp_path_factory.mktemp("schemas")))


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, schemas: SchemaFolder) -> Callable[[bytes], list[Alert]]:
    file = tmp_path_factory.mktemp("files") / "anything.txt"

    def read_bytes(data: bytes) -> list[Alert]:
        file.write_bytes(data)
        return list(read_alerts(file, schemas))

    return read_bytes


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_told_by_its_content(name: str, read: Callable[[bytes], list[Alert]]) -> None:
    alerts = read(FORMATS[name])
    assert len(alerts) == (1 if name == "gzip" else 3)
    for number, alert in enumerate(alerts):
        assert alert.reason == ""
        assert alert.triplet is not None
        assert alert.stream == ("ztf" if "ztf" in name else "rubin")
        assert alert.dia_source_id or alert.candid
        if alert.stream == "rubin":
            assert alert.dia_source_id == 1000 + number


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"GIF89a", "a file that starts with b'GIF8'"),
        (b"Obj\x01", "an Avro value"),
        (b"PAR1", "a sound Parquet file"),
        (b"PAR1" + bytes(100) + b"PAR1", "a sound Parquet file"),
        (b"\x00\x00\x00", "Confluent wire format"),
        (gzip.compress(gzip.compress(FORMATS["wire"])), "starts with b'\\\\x1f\\\\x8b"),
        (gzip.compress(FORMATS["wire"])[:-1], "one whole gzip member"),
        (parquet([{"a": 1}]), "columns of an alert of Rubin or ZTF, found a"),
        (parquet([{"candid": 1}]), "an alert of Rubin or ZTF, found the fields candid"),
        (parquet([{"diaSource": {"ra": "x"}, "cutoutScience": b""}]), "a number in the field 'ra'"),
        (parquet([{"diaSource": [1, 2]}]), "columns of an alert"),
    ],
)
def test_what_is_no_file_of_alerts(data: bytes, words: str, read: Callable[[bytes], list[Alert]]) -> None:
    with pytest.raises(AlertError, match=words):
        read(data)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(AlertError, match="found no such file"):
        list(read_alerts(tmp_path / "absent"))
    with pytest.raises(AlertError, match="found a folder"):
        list(read_alerts(tmp_path))


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "b/c/3", "b/.1.crc", "b/_SUCCESS", "b/_temporary/x", "a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = alert_files([tmp_path / "b", tmp_path / "a", tmp_path / "absent"])
    assert [str(p.relative_to(tmp_path)) for p in found] == ["b/1", "b/2", "b/c/3", "a", "absent"]


def test_alerts_before_the_damage_are_read(tmp_path: Path) -> None:
    file = tmp_path / "cut"
    file.write_bytes(FORMATS["container"][:-20])
    reader = read_alerts(file)
    assert [next(reader).dia_source_id for _ in range(2)] == [1000, 1001]
    with pytest.raises(AlertError):
        next(reader)


def test_files_that_unpack_to_nothing_come_to_an_end(read: Callable[[bytes], list[Alert]]) -> None:
    zeros = {"type": "record", "name": "s", "fields": [{"name": "diaSourceId", "type": "long"}]}
    schema = {"type": "record", "name": "a", "fields": [{"name": "diaSource", "type": zeros}]}
    nothing = [{"diaSource": {"diaSourceId": 0}}] * 9000
    stream = io.BytesIO()
    fastavro.writer(stream, schema, nothing, codec="deflate", sync_interval=10**6)
    rows = pa.table(
        {
            "diaSource": pa.array([row["diaSource"] for row in nothing]),
            "cutoutScience": pa.nulls(9000, pa.binary()),
        }
    )
    table = io.BytesIO()
    pq.write_table(rows, table)
    for file in (stream, table):
        assert len(file.getvalue()) < 5000
        with pytest.raises(AlertError, match="at least 64 bytes"):
            read(file.getvalue())


def check(data: bytes, read: Callable[[bytes], list[Alert]]) -> None:
    """Read bytes that are not what they were: only an `AlertError` may come of it, soon, or alerts."""
    start = time.monotonic()
    try:
        alerts = read(data)
    except AlertError:
        alerts = []
    assert time.monotonic() - start < 60
    for alert in alerts:
        assert (alert.triplet is None) == bool(alert.reason)
    if alerts:
        assert len(alert_cutouts(alerts, 21)) == len(alerts)


MANY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", FORMATS)
class TestDamage:
    """Every format, truncated, with flipped bits, overwritten, and as random bytes behind its first ones."""

    @MANY
    @given(data=st.data())
    def test_truncated(self, name: str, read: Callable[[bytes], list[Alert]], data: st.DataObject) -> None:
        whole = FORMATS[name]
        length = data.draw(st.integers(0, len(whole) - 1))
        file = whole[:length]
        try:
            alerts = read(file)
        except AlertError:
            return
        # A truncation between two messages or two blocks leaves a shorter file that is sound.
        assert name in ("container", "ztf", "wire", "deflate")
        assert len(alerts) < 3
        assert all(alert.reason == "" for alert in alerts)

    @MANY
    @given(data=st.data())
    def test_flipped_bits(self, name: str, read: Callable[[bytes], list[Alert]], data: st.DataObject) -> None:
        whole = bytearray(FORMATS[name])
        for bit in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=5)):
            whole[bit // 8] ^= 1 << (bit % 8)
        check(bytes(whole), read)

    @MANY
    @given(data=st.data(), value=st.binary(min_size=1, max_size=12))
    def test_overwritten_near_the_ends(
        self, name: str, read: Callable[[bytes], list[Alert]], data: st.DataObject, value: bytes
    ) -> None:
        whole = FORMATS[name]
        place = data.draw(st.integers(0, 1500))
        place = data.draw(st.sampled_from([place, len(whole) - len(value) - place]))
        check(whole[:place] + value + whole[place + len(value) :], read)

    @MANY
    @given(data=st.data(), value=st.binary(max_size=300))
    def test_random_bytes(
        self, name: str, read: Callable[[bytes], list[Alert]], data: st.DataObject, value: bytes
    ) -> None:
        kept = data.draw(st.sampled_from([0, 2, 4, 5, 16, 600]))
        check(FORMATS[name][:kept] + value, read)


@settings(max_examples=80, deadline=None)
@given(
    cutout=st.sampled_from(CUTOUTS),
    length=st.integers(0, len(RUBIN[0]["cutoutScience"]) - 1),
    ztf=st.booleans(),
)
def test_no_truncated_cutout_is_used(cutout: str, length: int, ztf: bool) -> None:
    """The packet is sound, the cutout in it is not."""
    if ztf:
        stamp = ZTF[0][cutout]["stampData"]
        alert = ztf_alert(ZTF[0] | {cutout: {"stampData": stamp[: length % len(stamp)]}}, "file")
    else:
        alert = rubin_alert(RUBIN[0] | {cutout: RUBIN[0][cutout][:length]}, "file")
    assert alert.triplet is None
    assert alert.reason
