package main

import (
	"errors"
	"testing"

	"nightshift/configs"
)

func TestAFileThatIsBeingWrittenIsNotPutInForce(t *testing.T) {
	half, whole := &configs.Config{Revision: "half"}, &configs.Config{Revision: "whole"}
	cut := errors.New("nightshift.yaml:9:7: not YAML")
	var s settling
	for i, look := range []struct {
		cfg  *configs.Config
		err  error
		want bool
	}{
		{half, nil, false}, {whole, nil, false}, {whole, nil, true}, // written in two parts
		{nil, cut, false}, {whole, nil, false}, // a fault of a moment is none
		{nil, cut, false}, {nil, cut, true}, {nil, cut, true}, // and one that stays is
	} {
		if got := s.isOver(look.cfg, look.err); got != look.want {
			t.Errorf("look %d: settled %v, want %v", i, got, look.want)
		}
	}
}
