"""The Predict page of a model whose features are a picture, driven by Streamlit's AppTest."""

import io

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

WIDTH, HEIGHT = 4, 5
HALF = [[0, 9, 9, 0]] * HEIGHT


@pytest.fixture
def picture_api(api):
    """An API whose card has a picture of 4 x 5 pixels from 0 to 9."""
    quantiles = {"0.25": 0, "0.5": 0, "0.75": 9}
    rows = [np.array(HALF).ravel(), np.array([[9, 9, 9, 9]] * HEIGHT).ravel()]
    api.card |= {
        "model_name": "tiles",
        "features": [
            api.feature(f"p{i}", 0, 9, 0, dtype="integer", quantiles=quantiles) for i in range(WIDTH * HEIGHT)
        ],
        "classes": ["stripe", "block"],
        "picture": {"width": WIDTH, "height": HEIGHT, "minimum": 0.0, "maximum": 9.0},
        "golden_rows": [
            {"features": row.tolist(), "probabilities": [0.9, 0.1] if i == 0 else [0.1, 0.9]}
            for i, row in enumerate(rows)
        ],
    }
    return api


def words(at: AppTest) -> str:
    assert not at.exception
    parts = [*at.title, *at.caption, *at.error, *at.warning, *at.info, *at.subheader]
    return "\n".join(part.value for part in parts).replace("\\", "")


def press(at: AppTest, label: str) -> AppTest:
    (button,) = [button for button in at.button if button.label == label]
    return button.click().run()


def sent(api) -> list[float]:
    return list(api.predictions()[-1].values())


def upload(at: AppTest, ink: np.ndarray) -> AppTest:
    at.segmented_control(key="way").set_value("Upload").run()
    sink = io.BytesIO()
    Image.fromarray(ink.astype(np.uint8)).save(sink, "PNG")
    return at.file_uploader(key="image").set_value(("tile.png", sink.getvalue(), "image/png")).run()


def test_an_empty_sheet_asks_for_a_picture_without_a_request(open_page, picture_api):
    at = open_page()
    assert "Draw a picture of 4 by 5 pixels: the model predicts one of 2 classes" in words(at)
    assert "Draw a picture, upload an image or start from an example." in words(at)
    assert len(at.get("bidi_component")) == 1
    assert picture_api.predictions() == [] and dict(at.query_params) == {}


def test_an_example_is_predicted_and_linked(open_page, picture_api):
    at = press(open_page(), "Stripe")
    assert sent(picture_api) == np.array(HALF).ravel().tolist()
    assert all(isinstance(value, int) for value in sent(picture_api))
    assert at.header and "Model input" in words(at) and "Pixel contributions" in words(at)
    images = [image.proto.imgs[0].alt for image in at.get("image")]
    assert images[0] == "Picture of 4 by 5 pixels, 10 of them with ink"
    assert images[1].startswith("Strongest pixel contributions to stripe: towards it row 1")
    query = {name: value[0] if isinstance(value, list) else value for name, value in at.query_params.items()}
    assert list(query) == ["_picture"]
    again = open_page(**query)
    assert sent(picture_api) == np.array(HALF).ravel().tolist() and again.header


@pytest.mark.parametrize("query", [{"_picture": "nonsense"}, {"_picture": "A" * 500}, {"x": "1"}])
def test_garbage_in_the_address_is_an_empty_sheet(open_page, picture_api, query):
    assert "Draw a picture" in words(open_page(**query))


def test_an_uploaded_image_of_the_exact_size(open_page, picture_api):
    at = upload(open_page(), np.array(HALF) * 255 / 9)
    assert sent(picture_api) == np.array(HALF).ravel().tolist()
    at.toggle(key="invert").set_value(True).run()
    assert sent(picture_api) == [9 - value for value in np.array(HALF).ravel()]


def test_a_large_image_is_fitted_unless_switched_off(open_page, picture_api):
    sheet = np.full((200, 160), 255)
    sheet[20:60, 10:30] = 0
    at = upload(open_page(), sheet)
    fitted = np.array(sent(picture_api)).reshape(HEIGHT, WIDTH)
    assert fitted[:, 1:3].min() > 4
    at.toggle(key="fitting").set_value(False).run()
    plain = np.array(sent(picture_api)).reshape(HEIGHT, WIDTH)
    assert plain[0, 0] > 0 and not plain[:, 2:].any() and not plain[3:].any()


def test_a_file_that_is_no_image_is_a_sentence(open_page, picture_api):
    at = open_page()
    at.segmented_control(key="way").set_value("Upload").run()
    at.file_uploader(key="image").set_value(("tile.png", b"no image", "image/png")).run()
    assert "The file is not a readable image" in words(at)
    assert picture_api.predictions() == []


def test_numbers_and_drawing_share_the_picture(open_page, picture_api):
    at = press(open_page(), "Block")
    at.segmented_control(key="way").set_value("Numbers").run()
    assert [number.value for number in at.number_input] == [9] * 20
    at.number_input[3].set_value(12).run()
    assert sent(picture_api)[3] == 12
    assert at.query_params["p3"] == ["12"] or at.query_params["p3"] == "12"
    assert "1 pixel is outside the training range" in words(at)
    at.segmented_control(key="way").set_value("Draw").run()
    assert len(at.get("bidi_component")) == 1 and "_picture" in at.query_params


@pytest.mark.parametrize("way", ["Draw", "Upload", "Numbers"])
def test_the_page_follows_a_model_switch_and_back(open_page, picture_api, way):
    from streamlit_app.components import service

    at = press(open_page(), "Block")
    at.segmented_control(key="way").set_value(way).run()
    pictures = dict(picture_api.card)
    few = pictures | {"picture": None, "features": pictures["features"][:3], "golden_rows": []}
    for card, inputs in ((few, 3), (pictures, 20 if way == "Numbers" else 0)):
        picture_api.card = card
        service.forget_card()
        at.run()
        assert not at.exception
        assert len(at.slider) + len(at.number_input) == inputs
        assert bool(at.get("bidi_component") or at.get("file_uploader")) == (inputs == 0)


@pytest.mark.parametrize(
    "entry", [3, {}, {"width": 4, "height": 4, "minimum": 0, "maximum": 9}, {"width": 4, "height": 5, "minimum": 9}]
)
def test_a_picture_that_does_not_fit_the_features_is_ignored(open_page, picture_api, entry):
    picture_api.card |= {"picture": entry}
    assert open_page().slider
