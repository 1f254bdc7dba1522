/** The numbers by which a database knows its objects and transactions. */

/** Object id: a positive whole number, unique in its database, never used twice. */
export type Oid = number
/** The root object's. */
export const ROOT_OID: Oid = 1
/** Transaction id: microseconds since 1970, strictly increasing. An object's serial is the tid that wrote it. */
export type Tid = number
