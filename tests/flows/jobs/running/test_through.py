"""Every item has exactly one outcome, whatever fails, and however many are worked on at once."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from glassplate.flows.jobs.running.through import Way, go_through

kinds = st.sampled_from(["settled", "good", "bad", "passing", "always passing"])


@given(items=st.lists(kinds, max_size=12), at_once=st.integers(1, 3), most=st.integers(0, 12))
def test_each_item_ends_once(items, at_once, most):
    attempts = [0] * len(items)
    ended = []
    begun = 0

    def refused(number):
        nonlocal begun
        begun += 1
        return "refused" if begun > most else None

    def work(number):
        attempts[number] += 1
        kind = items[number]
        if kind == "passing":
            return "passing" if attempts[number] == 1 else "good"
        return "passing" if kind == "always passing" else kind

    with ThreadPoolExecutor(at_once) as threads:
        way = Way(
            settled=lambda number: "settled" if items[number] == "settled" else None,
            refused=refused,
            submit=lambda number: threads.submit(work, number),
            is_worth_another=lambda outcome: outcome == "passing",
            ended=lambda number, outcome: ended.append((number, outcome)),
            at_once=lambda: at_once,
        )
        go_through(range(len(items)), way)
    assert sorted(number for number, _ in ended) == list(range(len(items)))
    for number, outcome in ended:
        if items[number] == "settled":
            assert (outcome, attempts[number]) == ("settled", 0)
        elif attempts[number] == 0:
            assert outcome == "refused"
        else:
            expected = {"good": {"good"}, "bad": {"bad"}, "always passing": {"passing"}}
            assert outcome in expected.get(items[number], {"good", "passing"})
        assert attempts[number] <= 2
