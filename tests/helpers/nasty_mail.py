"""Mails that have broken mail programs: written by nobody sane, and all of them seen for real."""

import mailbox
from pathlib import Path

FIRST = {
    "plain": b"From: ann@people.example\nSubject: hello\n\nfirst\n",
    "empty": b"",
    "no headers": b"\njust a body\n",
    "no body": b"From: nobody@people.example\nSubject: no body",
    "no from": b"Subject: who am I\n\ntext\n",
    "no to": b"From: noto@people.example\n\ntext\n",
    "from without an address": b"From: just some words\n\ntext\n",
    "two froms": b"From: one@people.example\nFrom: two@people.example\n\ntext\n",
    "group": b"From: undisclosed:;\nTo: undisclosed-recipients:;\n\ntext\n",
    "unknown charset": (
        b"From: cs@people.example\nContent-Type: text/plain; charset=klingon\n\n\xe4\n"
    ),
    "unknown charset in a header": b"From: =?klingon?q?=E4?= <kl@people.example>\n\ntext\n",
    "wrong charset in a header": b"From: =?utf-8?q?=E4=F6=FC?= <wr@people.example>\n\ntext\n",
    "lone surrogate": b"Return-Path: <>\nFrom: =?utf-7?q?+2AA-?= <ls@people.example>\n\ntext\n",
    "broken base64 in a header": b"From: =?utf-8?b?A?= <b64@people.example>\n\ntext\n",
    "8-bit headers": "From: Jürgen <jü@people.example>\nSubject: Grüße\n\ntext\n".encode("latin-1"),
    "subject in no encoding": b"From: su@people.example\nSubject: =?utf-8?b?A?=\n\ntext\n",
    "subject in a wrong charset": b"From: sw@people.example\nSubject: =?klingon?q?=80=81?=\n\nx\n",
    "NULs": b"From: nul@people.example\nSubject: a\0b\n\n\0\0\0\n",
    "NUL in the sender": b"From: n\0ul@people.example\n\ntext\n",
    "bare CRs": b"From: cr@people.example\rSubject: old Mac\r\rtext\r",
    "lines of dots": b"From: dot@people.example\n\n.\n..\n.\n",
    "huge header": b"From: huge@people.example\nX-Huge: " + b"x" * 300_000 + b"\n\ntext\n",
    "many headers": b"From: many@people.example\n" + b"X-Many: y\n" * 3_000 + b"\ntext\n",
    "header without a colon": b"From: colon@people.example\nthis is no header\n\ntext\n",
    "invalid content type": b"From: ct@people.example\nContent-Type: ;;;=;\n\ntext\n",
    "content type of an enemy": (
        b"From: en@people.example\nContent-Type: text/plain; self=1; _maintype=2; type_=3\n\ntext\n"
    ),
    "invalid transfer encoding": (
        b"From: te@people.example\nContent-Transfer-Encoding: rot13\n\ngrkg\n"
    ),
    "broken base64 body": (
        b"From: bb@people.example\nContent-Transfer-Encoding: base64\n\n=====!!!\xff\n"
    ),
    "truncated multipart": (
        b'From: mp@people.example\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n'
        b"Content-Type: text/plain\n\ncut o"
    ),
    "multipart without a boundary": (
        b"From: nb@people.example\nContent-Type: multipart/mixed\n\n--b\n\ntext\n"
    ),
    "nested too deep": b"From: deep@people.example\n"
    + b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
        for level in range(1_200)
    ),
    "message in a message, cut": (
        b"From: mm@people.example\nContent-Type: message/rfc822\n\n"
        b"From: x@y\nContent-Type: message/rfc822\n"
    ),
    "bounce without a status": (
        b"Return-Path: <>\nFrom: MAILER-DAEMON\nContent-Type: multipart/report; "
        b'report-type=delivery-status; boundary="r"\n\n--r\n'
        b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
        b"Final-Recipient: rfc822; ann@people.example\nAction: failed\n\n--r--\n"
    ),
    "bounce with text for fields": (
        b'Return-Path: <>\nContent-Type: multipart/report; boundary="r"\n\n--r\n'
        b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
        b"AAAA\n\n--r--\n"
    ),
    "bounce without an end": (
        b"Return-Path: <>\nContent-Type: multipart/report\n\n"
        b"Final-Recipient: rfc822; ann@people.example\nStatus: 5.1.1\n"
    ),
    "sender that SMTP can't say": b"From: a@b@c@people.example\n\ntext\n",
    "sender of the list's own": b"From: talk-bounces@lists.example\n\ntext\n",
    "recipient of the list's own": (
        b"From: rc@people.example\nDelivered-To: news@lists.example\n\ntext\n"
    ),
}
"""A message by what is wrong with it."""

AGAIN = [message for message in FIRST.values() if b"Return-Path" not in message]
"""From the same senders, who have confirmed in the meantime: these are posts."""

ALL = [*FIRST.values(), *AGAIN]


def write_mbox(path: Path) -> Path:
    """Write them all to an mbox, which is returned."""
    with path.open("wb") as file:
        for message in ALL:
            file.write(b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n" + message + b"\n\n")
        file.write(b"From line@people.example Thu Jan  1 00:00:00 1970\nSubject: x\n\ntext\n")
    return path


def write_maildir(path: Path) -> Path:
    """Write them all to a maildir, which is returned."""
    box = mailbox.Maildir(path, create=True)
    for message in ALL:
        box.add(message)
    box.close()
    return path
