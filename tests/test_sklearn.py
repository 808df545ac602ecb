"""ImageEmbedder as scikit-learn wants its estimators, as far as images allow."""
import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import mmssl
from mmssl.sklearn import ImageEmbedder
from mmssl.utils.errors import BrokenImageError, ConfigError

# checks that images cannot pass, and why
TABLES = 'the check takes X for a table of two axes, which images are not'
NO_FLOATS = 'images are uint8, uint16 or float32; other types do not say which value is white'
EXPECTED = dict(
    check_n_features_in_after_fitting=TABLES,
    check_n_features_in=TABLES,
    check_estimators_empty_data_messages=TABLES,
    check_estimator_sparse_tag=TABLES,
    check_estimator_sparse_array=TABLES,
    check_estimator_sparse_matrix=TABLES,
    check_transformer_data_not_an_array=TABLES,
    check_transformer_general=TABLES,
    check_methods_subset_invariance=TABLES + '; test_rows_do_not_depend_on_others has images',
    check_estimators_dtypes=NO_FLOATS,
    check_dtype_object=NO_FLOATS,
    check_transformer_preserve_dtypes=NO_FLOATS,
    check_estimators_nan_inf='images of uint8, which it gets here, hold no NaN; of float32 they are refused')


def as_images(X):
    """A table of numbers as one of images: each row decides about one."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype.kind != 'f':
        return X
    with np.errstate(invalid='ignore'):
        values = np.nan_to_num(np.floor(np.abs(X) * 997) % 256)
    return np.stack([np.resize(row, (8, 8, 3)) for row in values]).astype(np.uint8)


@pytest.mark.filterwarnings('ignore')
def test_estimator_checks(finished_run, monkeypatch):
    """scikit-learn's own checks, given images wherever they make data fit the tags of an estimator."""
    monkeypatch.setattr(
        estimator_checks,
        '_enforce_estimator_tags_X',
        lambda estimator, X, X_test=None, kernel=None: as_images(X)
        if X_test is None else (as_images(X), as_images(X_test)))
    tags = ImageEmbedder.__sklearn_tags__

    def tested(self):
        found = tags(self)
        found.input_tags.two_d_array = True  # else there would be no checks at all
        return found

    monkeypatch.setattr(ImageEmbedder, '__sklearn_tags__', tested)
    results = estimator_checks.check_estimator(
        ImageEmbedder(run=str(finished_run), size=8), expected_failed_checks=EXPECTED, on_skip=None)
    status = {(result['check_name'], result['status']) for result in results}
    assert {name for name, what in status if what == 'xfail'} == set(EXPECTED)
    assert sum(result['status'] == 'passed' for result in results) >= 32, status


def test_in_a_pipeline(finished_run, photo_folder):
    """A classifier behind it, a search over its settings, a clone, a pickle used where the run is not."""
    files = sorted(map(str, photo_folder.rglob('*.jpg')))
    y = ['flower' in file for file in files]
    embedder = ImageEmbedder(run=finished_run)
    pipeline = make_pipeline(embedder, LogisticRegression())
    assert pipeline.fit(files, y).score(files, y) == 1
    features = pipeline[0].transform(files)
    np.testing.assert_array_equal(features, mmssl.load(finished_run).features(files).features)
    search = GridSearchCV(clone(pipeline), dict(imageembedder__layer=['pooled', 'neck'], imageembedder__size=[16, 32]))
    assert search.fit(np.array(files), y).best_score_ > 0.8 and search.error_score is np.nan
    assert not np.isnan(search.cv_results_['mean_test_score']).any()
    names = pipeline[0].get_feature_names_out()
    assert list(names[:2]) == ['imageembedder0', 'imageembedder1'] and len(names) == features.shape[1]
    loaded = pickle.loads(pickle.dumps(pipeline[0]))
    loaded.run = 'nowhere'
    np.testing.assert_array_equal(loaded.transform(files), features)
    # without the projector, which makes none of these features
    assert {name for name, _ in loaded.model_.named_children()} == {'backbone'}


def test_rows_do_not_depend_on_others(finished_run, photo_folder):
    X = np.stack([np.asarray(Image.open(path)) for path in sorted(photo_folder.rglob('*.jpg'))])
    embedder = ImageEmbedder(run=finished_run).fit(X)
    features = embedder.transform(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(embedder.transform(X[order]), features[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.concatenate([embedder.transform(image[None]) for image in X[:3]]), features[:3], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(embedder.transform(list(X[:3])), embedder.transform(X[:3]))
    with pytest.raises(ConfigError, match='Reshape your data'):
        embedder.transform(X[0])


def test_set_output(finished_run, photo_folder):
    pandas = pytest.importorskip('pandas')
    table = ImageEmbedder(run=finished_run).set_output(transform='pandas').fit_transform(
        [photo_folder / 'china/00.jpg'])
    assert isinstance(table, pandas.DataFrame) and table.columns[0] == 'imageembedder0'


def test_refused(finished_run, photo_folder, tmp_path):
    with pytest.raises(ConfigError, match='layer patches gives no vector'):
        ImageEmbedder(run=finished_run, layer='patches').fit(str(photo_folder))
    (tmp_path / 'a.jpg').write_bytes(b'no image')
    embedder = ImageEmbedder(run=finished_run).fit(str(photo_folder))
    with pytest.raises(BrokenImageError, match='a.jpg'):  # a row that is left out would shift all labels behind it
        embedder.transform([str(tmp_path / 'a.jpg')])
    for options, words in ((dict(layer=3), 'layer is the name of one, .* got 3'),
                           (dict(batch_size=0), 'batch_size is an integer of at least 1, got 0'),
                           (dict(workers=-1), 'workers is an integer of at least 0, got -1'),
                           (dict(size='a'), "or .height, width., got 'a'"), (dict(size=0),
                                                                             'size, in pixels, .* got 0')):
        with pytest.raises(ConfigError, match=words):
            ImageEmbedder(run=finished_run, **options).fit(str(photo_folder))
    for images in (None, 5, [], (path for path in photo_folder.iterdir())):
        with pytest.raises(ConfigError, match='images are a folder, a list'):
            ImageEmbedder(run=finished_run).fit(images)
    with pytest.raises(ValueError, match='cannot be used to seed'):
        ImageEmbedder(random_state='a', epochs=1).fit([np.zeros((8, 8, 3), np.uint8)] * 2)
    with pytest.raises(ConfigError, match='images in memory of one size'):
        ImageEmbedder().fit([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)])


@pytest.mark.long
def test_a_training(tmp_path, monkeypatch):
    """Without a run `fit` trains on the images that it gets; nothing but the network is kept, or all in `out`."""
    from sklearn.datasets import load_digits
    monkeypatch.chdir(tmp_path)
    X = np.round(load_digits().images[:96] * (255 / 16)).astype(np.uint8)
    settings = {'data.workers_per_gpu': 0}
    embedder = ImageEmbedder(epochs=1, settings=settings, out='run').fit(X)
    assert embedder.run_.name == 'run' and mmssl.load('run').features(X[:5]).features.shape[0] == 5
    np.testing.assert_array_equal(embedder.transform(X[:5]), mmssl.load('run').features(X[:5]).features)
    assert {path.name for path in tmp_path.iterdir()} == {'run'}
    paths = []
    for i, image in enumerate(X[:64]):
        paths.append(tmp_path / f'digit {i}.png')
        Image.fromarray(image).save(paths[-1])
    again = ImageEmbedder(epochs=1, settings=settings).fit(paths)
    assert again.run_ is None and again.transform(paths).shape == (64, again._n_features_out)
