// Package e2e asks a running server, kanta serve, as those do who know nothing of Kanta's code:
// curl, a gRPC client that learns the service by reflection, and another implementation of roaring
// bitmaps. It is a module of its own: such clients bring more dependencies than Kanta has, and
// nothing of Kanta is imported.
package e2e
