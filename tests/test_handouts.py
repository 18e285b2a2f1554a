"""What teachers hand out and show: a bank of questions, slides. Numbers are those of results."""

import math
import re

import pytest
import slides

from coursepack.files import ROOT

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
# GIFT as https://docs.moodle.org/en/GIFT_format has it, of one kind: a choice, each with feedback.
T = r"((?:[^\\~=#{}:\n]|\\[~=#{}:])+)"  # a text: what GIFT reads as a sign has a backslash
COMMENT, CATEGORY, OPTION = re.compile("// (.+)"), re.compile(f"[$]CATEGORY: {T}"), f"([=~]){T}#{T}"
QUESTION = re.compile(rf"::{T}:: {T}{{\n(?:{OPTION}\n)+}}")


def read_gift(text):
    """Title, stem, options (sign, text, feedback) and comments of each question of a strict GIFT.

    Raises ValueError where a block is no question and no category.
    """
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        comments = [COMMENT.fullmatch(line)[1] for line in lines if line.startswith("//")]
        rest = "\n".join(line for line in lines if not line.startswith("//"))
        if match := QUESTION.fullmatch(rest):
            yield match[1], match[2].strip(), re.findall(f"(?m)^{OPTION}$", rest), comments
        elif rest and not CATEGORY.fullmatch(rest):
            raise ValueError(f"no GIFT: {rest}")


QUIZ = [*read_gift((ROOT / "site" / "quiz.gift").read_text(encoding="utf-8"))]


def test_the_bank_is_one_of_choices_of_which_one_is_right_and_not_always_the_same():
    assert f"[{len(QUIZ)} questions in GIFT]" in (ROOT / "site" / "teachers.md").read_text("utf-8")
    assert len({title for title, *_ in QUIZ}) == len(QUIZ)
    places = ["".join(sign for sign, *_ in options).index("=") for _, _, options, _ in QUIZ]
    assert all(places.count(place) > len(QUIZ) / 8 for place in range(4))
    for title, _, options, _ in QUIZ:
        assert [sign for sign, *_ in options].count("=") == 1, title
        assert len({text.strip() for _, text, _ in options}) == 4, title
        assert len({said.strip() for *_, said in options}) == 4, title
        assert all(len(said.split()) >= 5 for *_, said in options), title


@pytest.mark.parametrize(("title", "stem", "options", "comments"), QUIZ, ids=lambda one: one[:3])
def test_numbers_of_a_question_are_calculated_or_stand_in_a_page_of_results(
        title, stem, options, comments):
    [(right, why)] = [(text, said) for sign, text, said in options if sign == "="]
    own = [number.replace(",", "") for number in NUMBER.findall(right)]
    if comments and comments[0].startswith("= "):
        value = eval(comments[0][2:], {"math": math, "round": round})
        assert [float(number) for number in own] == [pytest.approx(value)]
    elif comments:
        page, _, sentence = comments[0].partition(": ")
        assert sentence in " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert {*NUMBER.findall(f"{stem} {right} {why}")} <= {*NUMBER.findall(sentence)}
    else:
        assert not [number for number in own if number not in "01"]


@pytest.mark.parametrize("text", [
    "::a:: b {\n=c # d\n~e\n}", "::a:: b {\n=c # d = e\n}", "::a:: b {\n=c: d # e\n}",
    ":a:: b {\n=c # d\n}", "::a:: b {\n=c # d\n", "::a:: b\n{\n=c # d\n\n~c # d\n}"])
def test_what_is_no_gift_is_refused(text):
    with pytest.raises(ValueError, match="no GIFT"):
        [*read_gift(text)]


def test_each_slide_has_a_figure_and_a_question_and_no_number_of_its_own():
    _, sections = slides.read()
    assert {one["notebook"] for one in sections} == {f"0{number}" for number in range(7)}
    for one in sections:
        assert one["question"].count("?") >= 1
        beside = slides.found(one)
        assert len(beside) > 20
        assert {*NUMBER.findall(one["question"])} <= {*NUMBER.findall(beside)}
        assert one["found"] or not NUMBER.findall(beside)  # else a cell has printed them
    page = slides.page()
    assert page.count("<section") == 1 + 2 * len(sections)
    assert len(re.findall('<img alt="[^"]{20,}" src="data:image', page)) == len(sections)
    assert not re.search(r'(src|href)="(?!data:)', page)  # it stands alone
