// Gen makes the Go code and the OpenAPI document of the .proto files of server/api. It compiles them by protocompile, and gives the
// result to the plugins of protobuf, gRPC and grpc-gateway at the versions that go.mod pins.
//
//	go generate ./server/api
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	root   = ".." // server/api, below which names of imports begin
	folder = "vitago/v1"
	paths  = root + "/" + folder + "/http.yaml"
)

// plugins are what makes files, with its parameter. Those with paths see those of HTTP in the options of the methods, where
// google/api/annotations.proto has them; the Go code of the messages is made without, and needs no package of googleapis.
var plugins = []struct {
	pkg, parameter string
	paths          bool
	keep           func([]*pluginpb.CodeGeneratorResponse_File) error
}{
	{"google.golang.org/protobuf/cmd/protoc-gen-go", "paths=source_relative", false, write},
	{"google.golang.org/grpc/cmd/protoc-gen-go-grpc", "paths=source_relative", false, write},
	{"github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway", "paths=source_relative", true, write},
	{"github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv3", "disable_default_errors=true", true, merge},
}

func main() {
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	protos, err := filepath.Glob(filepath.Join(root, folder, "*.proto"))
	if err != nil {
		return err
	}
	names := make([]string, len(protos))
	for i, p := range protos {
		names[i] = folder + "/" + filepath.Base(p)
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, names...)
	if err != nil {
		return err
	}
	all, err := together(files)
	if err != nil {
		return err
	}
	annotated, err := annotate(all)
	if err != nil {
		return fmt.Errorf("%s: %w", paths, err)
	}
	for _, p := range plugins {
		all := all
		if p.paths {
			all = annotated
		}
		request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: &p.parameter, ProtoFile: all}
		files, err := generate(p.pkg, request)
		if err == nil {
			err = p.keep(files)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.pkg, err)
		}
	}
	return nil
}

// together returns the descriptors of files and of what they import, what is imported first.
func together(files linker.Files) (all []*descriptorpb.FileDescriptorProto, err error) {
	seen := map[string]bool{}
	var add func(f linker.File)
	add = func(f linker.File) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			name := f.Imports().Get(i).Path()
			dep := f.FindImportByPath(name)
			if dep == nil {
				err = fmt.Errorf("%s imports %s, which was not compiled", f.Path(), name)
				return
			}
			add(dep)
		}
		all = append(all, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return all, err
}

// annotate returns files whose methods have the paths of HTTP that the table of paths gives them. Every line of it has to be of a method.
func annotate(files []*descriptorpb.FileDescriptorProto) ([]*descriptorpb.FileDescriptorProto, error) {
	text, err := os.ReadFile(paths)
	if err != nil {
		return nil, err
	}
	var table struct {
		HTTP struct {
			Rules []struct{ Selector, Get, Post, Body string }
		}
	}
	if err := yaml.Unmarshal(text, &table); err != nil {
		return nil, err
	}
	rules := map[string]*annotations.HttpRule{}
	for _, r := range table.HTTP.Rules {
		rule := &annotations.HttpRule{Body: r.Body, Pattern: &annotations.HttpRule_Get{Get: r.Get}}
		if r.Post != "" {
			rule.Pattern = &annotations.HttpRule_Post{Post: r.Post}
		}
		rules[r.Selector] = rule
	}
	all := make([]*descriptorpb.FileDescriptorProto, len(files))
	for i, f := range files {
		all[i] = proto.CloneOf(f)
		for _, s := range all[i].Service {
			for _, m := range s.Method {
				name := f.GetPackage() + "." + s.GetName() + "." + m.GetName()
				if rule := rules[name]; rule != nil {
					m.Options = &descriptorpb.MethodOptions{}
					proto.SetExtension(m.Options, annotations.E_Http, rule)
					delete(rules, name)
				}
			}
		}
		for _, m := range all[i].MessageType {
			plainNames(m)
		}
	}
	for name := range rules {
		return nil, fmt.Errorf("no method is called %s", name)
	}
	return all, nil
}

// plainNames lets the fields of a message be called in JSON as they are here, which is what the server writes.
func plainNames(m *descriptorpb.DescriptorProto) {
	for _, f := range m.Field {
		f.JsonName = f.Name
	}
	for _, inner := range m.NestedType {
		plainNames(inner)
	}
}

// generate runs a plugin and returns the files that it answers.
func generate(plugin string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "run", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response.File, nil
}

// write writes files where they say.
func write(files []*pluginpb.CodeGeneratorResponse_File) error {
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(f.GetName())), []byte(strings.TrimRight(f.GetContent(), "\n")+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
