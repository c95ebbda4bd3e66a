"""The race's arithmetic and what it writes: `python3 -m unittest race.tests`, in benches."""

from __future__ import annotations

import unittest
import xml.etree.ElementTree

from .arithmetic import Spread, number, quantile, ratio_cell, ratios
from .counting import is_call
from .plot import svg
from .pool_load import latency
from .report import Chart, Section, Table
from .turns import in_turn


class Arithmetic(unittest.TestCase):
    def test_quantiles_lie_between_neighbours(self) -> None:
        self.assertEqual(quantile([4, 1, 3, 2], 0.5), 2.5)
        self.assertEqual(quantile([7], 0.99), 7)
        self.assertEqual(quantile(range(101), 0.99), 99)
        self.assertEqual(Spread.of([5, 1, 2, 4, 3]), Spread(2, 3, 4))
        self.assertEqual(Spread(1, 2, 3).scaled(10), Spread(10, 20, 30))

    def test_ratios_are_of_what_was_measured_side_by_side(self) -> None:
        # Both slow down threefold: no difference.
        self.assertEqual(ratios([2, 6], [1, 3]), [2, 2])
        self.assertEqual(ratios([2, 6], [1, 0]), [2])
        self.assertEqual(ratio_cell([2, 3, 4], [2, 2, 2]), "1.50 [1.25–1.75]")
        self.assertEqual([ratio_cell([3], [2]), ratio_cell([], [])], ["1.50", "–"])

    def test_numbers_have_three_digits_that_count(self) -> None:
        shown = [number(value) for value in (0, 0.0123, 0.123, 1.234, 12.34, 1234.5)]
        self.assertEqual(shown, ["0", "0.012", "0.12", "1.23", "12.3", "1,234"])


class Turns(unittest.TestCase):
    def test_subjects_take_turns_and_what_fails_is_out_and_says_so(self) -> None:
        order: list[str] = []

        def one(name: str, fails_at: int = 0) -> float:
            order.append(name)
            if order.count(name) == fails_at:
                raise OSError("gone")
            return float(len(order))

        taken = in_turn({"a": lambda: one("a"), "b": lambda: one("b", 2)}, 3, 60)
        self.assertEqual(order, ["a", "b", "a", "b", "a"])
        self.assertEqual(taken.values, {"a": [1, 3, 5]})
        self.assertEqual(taken.failed, {"b": "in round 2: gone"})
        self.assertEqual(taken.ratio("a", "b"), "(b was not run)")
        self.assertEqual(in_turn({"a": lambda: 1.0}, 9, 0).values, {"a": [1]})


class Report(unittest.TestCase):
    def test_a_table_has_a_line_for_what_was_not_run(self) -> None:
        table = Table(["subject", "a", "b"])
        table.add("x|y", "1", "2")
        table.not_run({"z": "it is missing"})
        lines = table.markdown().splitlines()
        self.assertEqual(lines[1], "| --- | ---: | ---: |")
        self.assertEqual(lines[2:], ["| x\\|y | 1 | 2 |", "| z | **NOT RUN**: it is missing |  |"])
        self.assertRaises(ValueError, table.add, "x", "1")

    def test_a_section_has_its_tables_and_plots(self) -> None:
        chart = Chart("c", "a < b", "ms", {"prefork-init": Spread(1, 2, 4), "other": Spread(0, 0, 0)})
        section = Section("T", ["text"], [Table(["s"])], [chart, Chart("none", "", "", {})])
        self.assertEqual(section.markdown(3).splitlines()[0], "## T")
        self.assertIn("![a < b](plots/c.svg)", section.markdown(3))
        self.assertNotIn("none.svg", section.markdown(3))
        shapes = [shape.tag.rpartition("}")[2] for shape in xml.etree.ElementTree.fromstring(svg(chart))]
        self.assertEqual((shapes.count("rect"), shapes.count("path")), (3, 2))


class OfTools(unittest.TestCase):
    def test_what_wrk_and_strace_say_is_read(self) -> None:
        said = "  Latency Distribution\n     50%  812.00us\n     75%    1.20ms\n     99%    1.10s \n"
        self.assertEqual((latency(said, "50"), latency(said, "75"), latency(said, "99")), (0.812, 1.2, 1100))
        lines = ["read(3) = 1", "<... read resumed>) = 1", "--- SIGCHLD ---", "+++ exited with 0 +++", ""]
        self.assertEqual([is_call(line) for line in lines], [True, False, False, False, False])


if __name__ == "__main__":
    unittest.main()
