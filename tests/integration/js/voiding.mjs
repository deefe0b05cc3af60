// Voided statements are given back as voided ones only, and what voided them is found.

import { assert, client, learner, refused, statement } from "./client.mjs";

const actor = learner();
const { data: ids } = await client.sendStatements({ statements: [statement(), statement(), statement()] });
const [one, two, kept] = ids;
const { data: voidings } = await client.voidStatement({ actor, statementId: one });
voidings.push(...(await client.voidStatements({ actor, statementIds: [two] })).data);
for (const id of [one, two]) {
  assert.equal((await client.getVoidedStatement({ voidedStatementId: id })).data.id, id);
  await refused(client.getStatement({ statementId: id }), 404);
}
assert.equal((await client.getStatement({ statementId: kept })).data.id, kept);
await refused(client.getVoidedStatement({ voidedStatementId: kept }), 404);
const { data: found } = await client.getStatements({ agent: actor, ascending: true });
assert.deepEqual(found.statements.map(({ id }) => id), voidings);

console.log("done");
