// Package quality is stage 1 of a write: what can be decided from the input, the schema
// and the time of receipt alone, before the log. It finds out how a file is written
// ([Sniff]), reads its rows ([OpenRows], [OpenParquet]), infers a schema from them ([Infer],
// [InferEvents]) or reads one from a file ([ReadDefinitions]), turns rows into batches
// ([Load]), and checks a batch against the rules of the schema ([CheckAt]). Format
// libraries are allowed here and forbidden in Apply, which must decide the same on every
// machine and in every version.
package quality
