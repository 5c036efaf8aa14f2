"""Small files in SQuAD's layout."""

import json


def answered(id, question, *answers):
    """A question with (text, offset) of each right answer."""
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": question, "answers": found}


def unanswered(id, question):
    return {"id": id, "question": question, "answers": [], "is_impossible": True}


def write_squad(file, *paragraphs):
    """(context, questions) of each paragraph, an article each; returns the file."""
    articles = [
        {"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}
        for context, questions in paragraphs
    ]
    file.write_text(json.dumps({"version": "1.1", "data": articles}), encoding="utf-8")
    return file
