"""A believable school term, played by invented learners: statements, and the truth about what they did.

`Term` plays day by day: who enrols, opens pages, watches, answers, fails and tries again, stops or finishes. It
writes statements as a learning platform, a cmi5 runtime and a survey tool would, in the order in which they are sent.
Beside that it keeps account of what it let everyone do, and `Term.truth()` gives that account. The account is never
computed from statements, so views of a store can be checked against it. All is derived from the seed and the other
settings: the same settings give the same bytes.

Learners, staff and courses are invented; every address is under `school.example` or `publisher.example`.

The rules by which the account is kept

*Enrolled.* A learner is enrolled in a course whose latest `registered` or `unregistered` statement, by timestamp, is
`registered`. One with a `registered` that was voided and nothing else is not in the course at all.

*Progress of a module*, in percent. In an ordinary course: 100 with a `completed` on the module, else the highest cmi5
progress extension that was sent for it, else 0. In a cmi5 course a module is an assignable unit: 100 with `completed`
or where its moveOn is met, else the highest progress extension, else 0.

*moveOn of a unit is met* with `waived`; or by its rule: Passed needs `passed`, Completed `completed`,
CompletedAndPassed both, CompletedOrPassed one of them, in any sessions of the registration. It is met at the timestamp
that made it so.

*Progress of a course* is 100 once the course is completed, else the mean over all its modules, untouched ones as 0,
rounded to two decimals.

*Completion of a course*: in an ordinary course the earliest `completed` on the course; in a cmi5 course the moment at
which moveOn was met for the last of its units, which is also the timestamp of the platform's `satisfied`.

*Outcome and score* of a course, a quiz or a unit: passed if there is a `passed`, with its score; else failed if there
is a `failed`, with the score of the latest; else none. A cmi5 course has none of its own.

Statements that were voided count nowhere. Order is by timestamp: late uploads and repeats change nothing.
"""
