#pragma once
#include <string>
#include <vector>

#include "emulator/front/lexer.h"

namespace kw::emulator {

/// One item of a `[[a, b(args)]]`: its name and the tokens between its parentheses (first == last: none).
struct Attribute {
  std::string name;
  size_t first = 0, last = 0;  // token range of the arguments, half open
};

enum class DeclarationKind { function, variable, record, instantiation, other };

/// A declaration at namespace or class scope, as token indices. Zero where there is no such part.
struct Declaration {
  DeclarationKind kind = DeclarationKind::other;
  size_t first = 0, last = 0;  // half open; `first` is the `template` of a template
  size_t head = 0;             // first token behind the template headers
  size_t name = 0;             // last token of the declared name
  size_t params = 0;           // the ( of the parameter list
  size_t init_list = 0;        // the : of a constructor's initialiser list
  size_t initialiser = 0;      // the = or { of a variable's value
  size_t body = 0;             // the { of a function or record
  bool is_template = false;
  bool is_kernel = false;
  bool in_record = false;
  std::string scope;                  // "a::b::", without anonymous namespaces
  std::vector<Attribute> attributes;  // of the declaration itself, not of its parameters
  size_t enclosing = 0;               // identifies the scope: the index of its { (0: the file)
};

/// Every declaration of the file, outer ones before those within them.
std::vector<Declaration> outline(const Lexed& lexed);

/// True if token `at` is the first [ of a [[...]] pair.
bool opens_attribute(const Lexed& lexed, size_t at);
std::vector<Attribute> read_attribute(const Lexed& lexed, size_t at);

/// The index behind the > that closes the template list opened at `at`, or 0 if it is no template list.
size_t behind_angles(const Lexed& lexed, size_t at, size_t end);

bool is_address_space(std::string_view word);

/// Token ranges between commas at depth 0 of [first, last), template lists kept whole.
std::vector<std::pair<size_t, size_t>> split_commas(const Lexed& lexed, size_t first, size_t last);

}  // namespace kw::emulator
