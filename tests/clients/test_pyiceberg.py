"""PyIceberg: a catalog on this machine, tables in S3, by PyArrow's and by fsspec's file access."""

import pyarrow as pa
import pyarrow.compute
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual


def catalog(side, uri, io, warehouse=None):
    """A catalog in a database of this machine; who only reads needs no warehouse."""
    return SqlCatalog(
        "test",
        **{
            "uri": uri,
            "py-io-impl": f"pyiceberg.io.{io}",
            "s3.endpoint": side.endpoint,
            "s3.access-key-id": side.access_key,
            "s3.secret-access-key": side.secret_key,
            "s3.region": side.region,
        },
        **({"warehouse": warehouse} if warehouse else {}),
    )


@pytest.mark.parametrize("io", ["pyarrow.PyArrowFileIO", "fsspec.FsspecFileIO"])
def test_writes_and_scans_a_table(compare, trades, tmp_path, io):
    def work(at):
        data = trades.slice(0, 20_000).select(["id", "symbol", "price", "quantity"])
        uri = f"sqlite:///{tmp_path}/{at.side.name}.db"
        own = catalog(at.side, uri, io, at.url("warehouse"))
        own.create_namespace("lake")
        table = own.create_table("lake.trades", schema=data.schema)
        table.append(data)
        table.append(data.slice(0, 100))
        table.delete(EqualTo("id", 5))
        table = catalog(at.side, uri, io).load_table("lake.trades")
        ids = table.scan(row_filter=GreaterThanOrEqual("id", 19_990), selected_fields=("id", "symbol")).to_arrow()
        first = table.history()[0].snapshot_id
        result = (
            table.scan().to_arrow().num_rows,
            sorted(ids["id"].to_pylist()),
            table.scan(snapshot_id=first).to_arrow().num_rows,
            pa.compute.sum(table.scan().to_arrow()["quantity"]).as_py(),
        )
        own.purge_table("lake.trades")
        return result

    count, ids, before, _ = compare(work, stored=None)
    assert (count, before) == (20_098, 20_000)
    assert ids == list(range(19_990, 20_000))
