// Package configs reads the policy file, merges it with the environment and the
// flags of a command, and hands each part of the program what it needs.
//
// The file is read as YAML 1.2: on, off, yes and no are words, not booleans. It
// is walked node by node instead of decoded, so that all its [Faults] are found
// at once, each with file, line, column, path, and what would be right. Unknown
// keys are faults; a key that the language has and this version does not is
// refused by name.
//
// The file is described once, in reference.go: a table of its mappings and keys.
// The reader knows no other keys, [Schema] (for editors) and [Reference] (the page
// of all options) are made of the same table, and tests fail where they part. A new
// key is a line there and its reading.
//
// Flags win over the environment, the environment over the file, the file over
// the defaults. The API token does not pass through here (package civo finds
// it): in the policy file it would be one commit away from the public.
package configs
