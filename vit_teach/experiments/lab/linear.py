"""Two ways to read frozen features: a linear classifier and nearest neighbours. Chapter 11."""

import torch
import torch.nn.functional as F

DECAYS = tuple(10.0 ** (-k / 2) for k in range(-2, 11))  # strongest first, 10 to 1e-5
PATIENCE = 3
NEIGHBOURS = (1, 3, 10, 30, 100)
SHARPNESS = 0.07  # of the neighbours' votes: exp(cosine / 0.07), as in DINO's code


def standardised(train, *others):
    """Features less the training mean, over one number: the root of their mean variance.

    Takes float (N, D) tensors and returns a list of them, float64.

    >>> a, b = standardised(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0]]))
    >>> a.flatten().tolist(), b.item()
    ([-1.0, 1.0], 2.0)
    """
    mean = train.double().mean(dim=0)  # (D,)
    scale = (train.double() - mean).square().mean().sqrt()
    return [(part.double() - mean) / scale for part in (train, *others)]


def fit(features, labels, decay, num_classes, start=None, steps=300):
    """The weights (K, D + 1) of a linear classifier, the bias last, at the minimum of its loss.

    The loss is the mean cross-entropy plus ``decay`` / 2 times the squared length of the weights
    without the bias; L-BFGS takes at most ``steps`` steps from ``start`` (None: zero).

    >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    >>> scores(fit(x, y, 0.01, 2), x).argmax(dim=1).tolist()
    [0, 1]
    """
    with_bias = F.pad(features, (0, 1), value=1.0)  # (N, D + 1)
    first = torch.zeros(num_classes, with_bias.shape[1], dtype=features.dtype)
    weights = (first if start is None else start.clone()).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weights], max_iter=steps, history_size=10, tolerance_grad=1e-6, tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        optimiser.zero_grad()
        loss = F.cross_entropy(with_bias @ weights.T, labels)
        loss = loss + decay / 2 * weights[:, :-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()


def scores(weights, features):
    """Logits (N, K) of features (N, D) by weights (K, D + 1).

    >>> scores(torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0]]))
    tensor([[7.]])
    """
    return features @ weights[:, :-1].T + weights[:, -1]


def fit_best(features, labels, held, held_labels, num_classes):
    """(weights, decay): of the fits over ``DECAYS`` the one that is right most often on ``held``.

    Of equals the strongest decay wins. Each fit starts from the one before, and the search ends
    when ``PATIENCE`` decays in a row were no better than the best.

    >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    >>> fit_best(x, y, x, y, 2)[1] == DECAYS[0]
    True
    """
    best, chosen, weights, worse = -1.0, None, None, 0
    for decay in DECAYS:
        weights = fit(features, labels, decay, num_classes, weights)
        right = accuracy(scores(weights, held), held_labels)
        worse = 0 if right > best else worse + 1
        if right > best:
            best, chosen = right, (weights, decay)
        if worse == PATIENCE:
            break
    return chosen


def accuracy(votes, labels):
    """The share of pictures whose largest of votes (N, K) is their label.

    >>> accuracy(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0]))
    0.5
    """
    return (votes.argmax(dim=1) == labels).double().mean().item()


def neighbour_votes(train, labels, queries, k, num_classes, batch=500):
    """Votes (N, K) of the ``k`` training features that are nearest by cosine, near ones stronger.

    >>> near = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> query = torch.tensor([[2.0, 0.1]])
    >>> neighbour_votes(near, torch.tensor([0, 1]), query, 1, 2).argmax().item()
    0
    """
    train, votes = F.normalize(train.float(), dim=1), []
    for part in F.normalize(queries.float(), dim=1).split(batch):
        nearest = (part @ train.T).topk(min(k, len(train)), dim=1)  # (b, k)
        strength = ((nearest.values - 1) / SHARPNESS).exp()  # (b, k)
        empty = torch.zeros(len(part), num_classes)
        votes.append(empty.scatter_add(1, labels[nearest.indices], strength))
    return torch.cat(votes)


def best_neighbours(train, labels, held, held_labels, num_classes):
    """The k of ``NEIGHBOURS`` that is right most often on ``held``; of equals the smallest.

    >>> x, y = torch.eye(2), torch.tensor([0, 1])
    >>> best_neighbours(x, y, x, y, 2)
    1
    """

    def right(k):
        return accuracy(neighbour_votes(train, labels, held, k, num_classes), held_labels)

    return max(NEIGHBOURS, key=right)
