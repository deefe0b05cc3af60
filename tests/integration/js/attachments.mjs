// Attachments, sent and given back as multipart/mixed.
//
// The client writes no line break between two attachments of one request, so each request here carries one.

import { assert, bytesOf, client, essay, learner, refused, statement } from "./client.mjs";

const actor = learner();
const texts = ["What I did in the holidays.", "naïve — Ångström"];
const ids = [];
for (const text of texts) {
  const attached = statement({ actor, attachments: [essay(text)] });
  const { data } = await client.sendStatement({ statement: attached, attachments: [bytesOf(text)] });
  ids.push(data[0]);
  const { data: parts } = await client.getStatement({ statementId: data[0], attachments: true });
  assert.equal(parts.length, 2);
  assert.equal(parts[0].id, data[0]);
  assert.deepEqual(parts[0].attachments, attached.attachments);
  assert.equal(parts[1], text);
  const { data: bare } = await client.getStatement({ statementId: data[0] });
  assert.deepEqual(bare.attachments, attached.attachments);
}

const { data: found } = await client.getStatements({ agent: actor, attachments: true, ascending: true });
assert.deepEqual(found[0].statements.map(({ id }) => id), ids);
assert.deepEqual(found.slice(1), texts);

// a batch of which each statement has the same attachment, and one of which the bytes are other ones
const text = "Handed in by two.";
const two = [statement({ actor, attachments: [essay(text)] }), statement({ actor, attachments: [essay(text)] })];
const { data: both } = await client.sendStatements({ statements: two, attachments: [bytesOf(text)] });
for (const id of both) {
  const { data: parts } = await client.getStatement({ statementId: id, attachments: true });
  assert.equal(parts[1], text);
}
const forged = statement({ actor, attachments: [essay("this")] });
await refused(client.sendStatement({ statement: forged, attachments: [bytesOf("that")] }), 400);

// voided with its attachment
await client.voidStatement({ actor, statementId: ids[0] });
const { data: voided } = await client.getVoidedStatement({ voidedStatementId: ids[0], attachments: true });
assert.equal(voided[1], texts[0]);

console.log("done");
