"""Price lists."""

import pytest

import stageplan as sp
from stageplan.readers.prices import Machine, read_machines

HEAD = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region,Zone\n"
ROWS = """\
g4dn.xlarge,4.0,16.0,T4,1.0,,0.526,0.21,us-east-1,use1-az1
g4dn.12xlarge,48.0,192.0,T4,4.0,,3.912,0.4,us-east-1,use1-az1
g4dn.xlarge,4.0,16.0,T4,1.0,,0.5,,eu-west-1,euw1-az1
p4de.24xlarge,96.0,1152.0,A100-80GB,8.0,"{'Gpus': [{'Name': 'A100', 'Count': 8}]}",27.44,,us-east-1,use1-az2
m6i.large,2.0,8.0,,,,0.096,0.03,us-east-1,use1-az2
"""


def read_prices(*arguments, **named):
    """Return the cheapest price of each accelerator."""
    found = sorted(read_machines(*arguments, **named), key=lambda machine: -machine.price)
    return {machine.name: machine.price for machine in found}


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "vms.csv"
    path.write_text(HEAD + ROWS)
    return path


def test_the_cheapest_price_of_one_accelerator(prices):
    prices = prices.read_text()
    assert read_prices(prices) == {"t4": 0.5, "a100-80gb": 27.44 / 8}
    assert read_prices(prices, region="us-east-1") == {"t4": 0.526, "a100-80gb": 27.44 / 8}
    assert read_prices(prices, spot=True) == {"t4": 0.1}


def test_columns_in_another_order():
    assert read_prices("AcceleratorName,Price,Region,AcceleratorCount\nH100,80,x,8\n") == {"h100": 10.0}


def test_tpu_slices_are_priced_a_chip():
    rows = (
        "a,1,1,tpu-v4-8,1,,12.88,,r,z\na,1,1,tpu-v5litepod-8,1,,9.6,,r,z\na,1,1,tpu-v5p-128,1,,268.8,,r,z\n"
    )
    assert read_prices(HEAD + rows) == {"tpu-v4": 3.22, "tpu-v5litepod": 1.2, "tpu-v5p": 4.2}


def test_prices_of_tpu_slices_reach_the_devices(tmp_path):
    path = tmp_path / "vms.csv"
    path.write_text(HEAD + "a,1,1,tpu-v6e-8,1,,21.6,,r,z\na,1,1,tpu-v5litepod-4,1,,4.8,,r,z\n")
    devices = sp.read_devices(prices=path)
    assert (devices["tpu-v6e"].price, devices["tpu-v5e"].price) == pytest.approx((2.7, 1.2))


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "vms.csv"
    path.write_text("\ufeff" + HEAD + ROWS, encoding="utf-8")
    assert sp.read_devices(prices=path)["t4"].price == 0.5


@pytest.mark.parametrize("region", [None, "mars", "r"])
def test_incomplete_rows_are_named_by_their_line(region):
    text = HEAD + "a,1,1,T4,1.0,,1,,r,z\na,1,1,T4,1\n"
    with pytest.raises(ValueError, match="line 3 is incomplete or too long; it must have 10 fields"):
        read_prices(text, region)
    with pytest.raises(ValueError, match="line 2 is incomplete or too long"):
        read_prices(HEAD + "a,1,1,T4,1.0,,1,,r,z,more\n", region)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it has no column AcceleratorName; it must be a CSV with columns AcceleratorName, Accel"),
        (HEAD + 'a,1,1,"' + "x" * 200_000, "it is not a valid CSV: field larger than field limit"),
        (
            HEAD + "a,1,1,T4,0,,1,,r,z\n",
            "AcceleratorCount in line 2 is '0'; it must be a number, more than 0",
        ),
        ("AcceleratorName,AcceleratorCount,Region\n", "it has no column Price"),
        (HEAD + "a,1,1,T4,1.0,,cheap,,r,z\n", "Price in line 2 is 'cheap'; it must be a number, 0 or more"),
        (HEAD + "a,1,1,T4,1.0,,-1,,r,z\n", "Price in line 2 is '-1'"),
        (HEAD + "a,1,1,T4,many,,1,,r,z\n", "AcceleratorCount in line 2 is 'many'"),
    ],
)
def test_bad_lists_are_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_prices(text)


def test_a_list_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "vms.csv"
    path.write_bytes(HEAD.encode() + b"\xff")
    with pytest.raises(ValueError, match=r"vms\.csv: byte \d+ is not UTF-8; the file must be text"):
        sp.read_devices(prices=path)


def test_an_unknown_region_is_refused(prices):
    with pytest.raises(
        ValueError, match=r"region is 'mars'; it must be one of the file's: eu-west-1, us-east-1"
    ):
        read_prices(prices.read_text(), region="mars")


def test_prices_of_a_list_replace_those_of_the_catalogue(prices):
    devices = sp.read_devices(prices=prices)
    assert devices["t4"].price == 0.5
    assert devices["a100-80g"].price == 27.44 / 8
    assert devices["l4"].price is None  # a price from elsewhere would pass for one of the list
    with pytest.raises(ValueError, match="price of l4 is not known"):
        sp.make_cluster(["l4:2"], devices)
    assert sp.make_cluster(["l4:2@0.6"], devices).types[0].price == 0.6


def test_a_region_goes_with_a_list():
    with pytest.raises(ValueError, match="region requires a price list; prices must be given"):
        sp.read_devices(region="us-east-1")


def test_a_list_has_no_reserved_prices(prices):
    assert sp.read_devices(prices=prices, pricing="spot")["t4"].price == 0.1
    with pytest.raises(
        ValueError, match="pricing is 'reserved'; it must be 'on-demand' or 'spot', as a price"
    ):
        sp.read_devices(prices=prices, pricing="reserved")


def test_prices_of_the_catalogue():
    devices = sp.read_devices()
    for pricing, rate in (("spot", devices["h100-sxm"].spot), ("reserved", devices["h100-sxm"].reserved)):
        assert rate.source
        assert rate.date
        priced = sp.read_devices(pricing=pricing)
        assert priced["h100-sxm"].price == rate.price < devices["h100-sxm"].price
        assert priced["t4"].price is None
    with pytest.raises(
        ValueError, match="pricing is 'free'; it must be one of 'on-demand', 'spot', 'reserved'"
    ):
        sp.read_devices(pricing="free")


GOOGLE = """\
a2-ultragpu-1g,12,170,,,,1.1,0.5,us-central1,a
a2-ultragpu-8g,96,1360,,,,8.8,4.4,us-central1,a
g2-standard-24,24,96,,,,1.0,0.4,us-central1,a
,,,A100-80GB,1,,3.9,1.5,us-central1,a
,,,A100-80GB,8,,31.2,12.0,us-central1,a
,,,A100-80GB,1,,4.0,1.5,elsewhere,a
,,,L4,2,,1.12,0.4,us-central1,a
,,,P4,1,,0.6,0.2,us-central1,a
,,,tpu-v6e-8,1,tpu-v6e-8,21.6,9.72,us-east5,a
"""


def test_accelerators_that_are_listed_without_their_machine():
    """Its price is added where the list has it."""
    found = read_machines(HEAD + GOOGLE)
    assert found == [
        Machine("a100-80gb", 1, 5.0),
        Machine("a100-80gb", 8, 5.0),
        Machine("a100-80gb", 1, 4.0),
        Machine("l4", 2, pytest.approx(1.06)),
        Machine("p4", 1, 0.6),
        Machine("tpu-v6e", 8, pytest.approx(2.7)),
    ]
    assert read_prices(HEAD + GOOGLE, spot=True)["a100-80gb"] == 1.5
    assert read_machines(HEAD + GOOGLE, region="us-central1", spot=True)[0] == Machine("a100-80gb", 1, 2.0)


def test_slices_of_all_sizes_at_one_price_have_no_price():
    """SkyPilot lists 700 $/hour where it knows none."""
    rows = [f"x,1,1,tpu-v6e-{n},1,,700.0,{price},r,z\n" for n, price in ((1, 700.0), (8, 9.7), (256, 700.0))]
    rows.append("x,1,1,tpu-v6e-8,1,,21.6,700.0,s,z\n")
    text = HEAD + "".join(rows)
    assert read_prices(text) == {"tpu-v6e": pytest.approx(2.7)}
    assert read_machines(text, region="r") == []
    assert [machine.devices for machine in read_machines(text, region="r", spot=True)] == [8]


def test_whole_machines_have_the_price_of_machines_of_their_size(tmp_path):
    path = tmp_path / "vms.csv"
    path.write_text(HEAD + "small,1,1,H100,1.0,,2.0,,r,z\nlarge,1,1,H100,8.0,,24.0,,r,z\n")
    assert sp.read_devices(prices=path)["h100-sxm"].price == 2.0
    assert sp.read_devices(prices=path, whole_machines=True)["h100-sxm"].price == 3.0
    path.write_text(HEAD + "small,1,1,H100,1.0,,2.0,,r,z\n")
    assert sp.read_devices(prices=path, whole_machines=True)["h100-sxm"].price is None


def test_errors_name_the_list(prices):
    with pytest.raises(ValueError, match=r"vms\.csv: region is 'mars'"):
        sp.read_devices(prices=prices, region="mars")
