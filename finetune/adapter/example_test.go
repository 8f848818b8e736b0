package adapter_test

import (
	"fmt"
	"log"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/adapter"
)

// One tower with several adapters, of which it computes with some.
func ExampleSet() {
	tower, err := converter.Load("../../testdata/peft/clip")
	if err != nil {
		log.Fatal(err)
	}
	set, err := adapter.NewSet(tower)
	if err != nil {
		log.Fatal(err)
	}
	c := adapter.LoRA{}
	for _, name := range []string{"animals", "cars"} { // in life not the same
		if c, err = set.Load(name, "../../testdata/peft/0.21.2/patterns"); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(set.Names(), "rank", c.Rank, c.Targets)
	if err := set.Activate(adapter.Weighted{Name: "animals", Weight: 0.7}, adapter.Weighted{Name: "cars", Weight: 0.3}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(set.Active()) // what tower computes from here on
	set.Disable()
	fmt.Println(len(set.Active()), "active: the tower computes what it did without them, to the bit")
	// Output:
	// [animals cars] rank 2 [k_proj out_proj fc1]
	// [{animals 0.7} {cars 0.3}]
	// 0 active: the tower computes what it did without them, to the bit
}
