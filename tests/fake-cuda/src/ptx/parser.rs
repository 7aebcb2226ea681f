//! Tokens to a tree: the module and its declarations. (`statement` has the bodies of functions.)

use super::lexer::{Kind, Token, tokens};
use super::{
    Bounds, Function, Initial, Module, Number, Parsed, PtxError, Space, Type, Variable,
};

/// The tree of `text`.
pub(crate) fn parse(text: &str) -> Parsed<Module<'_>> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    parser.module()
}

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

/// Moving over the tokens.
impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> Kind<'a> {
        self.tokens[self.at].kind
    }

    /// What comes after the next token.
    pub(super) fn peek_second(&self) -> Kind<'a> {
        self.tokens.get(self.at + 1).map_or(Kind::End, |token| token.kind)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    pub(super) fn next(&mut self) -> Kind<'a> {
        let kind = self.peek();
        if kind != Kind::End {
            self.at += 1;
        }
        kind
    }

    pub(super) fn error<T>(&self, expected: &str) -> Parsed<T> {
        let found = match self.peek() {
            Kind::Word(word) | Kind::Text(word) => format!("`{word}`"),
            Kind::Number(number) => format!("{number:?}"),
            Kind::Mark(mark) => format!("`{mark}`"),
            Kind::End => "the end".into(),
        };
        Err(PtxError::new(self.line(), format!("expected {expected}, found {found}")))
    }

    /// Takes `mark` if it is next.
    pub(super) fn accept(&mut self, mark: char) -> bool {
        let found = self.peek() == Kind::Mark(mark);
        self.at += usize::from(found);
        found
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Kind::Word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Parsed<()> {
        if self.accept(mark) { Ok(()) } else { self.error(&format!("`{mark}`")) }
    }

    pub(super) fn word(&mut self) -> Parsed<&'a str> {
        match self.peek() {
            Kind::Word(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.error("a name"),
        }
    }

    /// A number with its signs.
    pub(super) fn number(&mut self) -> Parsed<Number> {
        let mut negative = false;
        while let Kind::Mark(sign @ ('+' | '-')) = self.peek() {
            negative ^= sign == '-';
            self.at += 1;
        }
        match self.peek() {
            Kind::Number(number) => {
                self.at += 1;
                Ok(if negative { number.negated() } else { number })
            }
            _ => self.error("a number"),
        }
    }

    pub(super) fn integer(&mut self) -> Parsed<u64> {
        match self.number()? {
            Number::Integer(value) => Ok(value),
            _ => self.error("an integer"),
        }
    }

    fn count(&mut self) -> Parsed<usize> {
        let value = self.integer()?;
        let fits = usize::try_from(value).ok().filter(|value| *value < 1 << 40);
        fits.ok_or_else(|| PtxError::new(self.line(), format!("{value} is too large")))
    }

    /// What follows an address's name: `+4`, `-4`, `+-4` or nothing.
    pub(super) fn offset(&mut self) -> Parsed<i64> {
        let mut total = 0i64;
        while matches!(self.peek(), Kind::Mark('+' | '-')) {
            total = total.wrapping_add(self.integer()?.cast_signed());
        }
        Ok(total)
    }

    /// Items between commas up to `end`, which is taken.
    pub(super) fn list<T>(
        &mut self,
        end: char,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        while !self.accept(end) {
            if !items.is_empty() {
                self.expect(',')?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// The rest of the line: debugging directives have no end of their own.
    pub(super) fn skip_line(&mut self) {
        let line = self.line();
        while self.line() == line && self.peek() != Kind::End {
            self.at += 1;
        }
    }
}

/// Declarations.
impl<'a> Parser<'a> {
    fn module(&mut self) -> Parsed<Module<'a>> {
        let mut module = Module::default();
        while let Kind::Word(word) = self.peek() {
            match word {
                ".version" => {
                    self.at += 1;
                    module.version = self.version()?;
                }
                ".target" => {
                    self.at += 1;
                    module.target = self.word()?;
                    while self.accept(',') {
                        self.word()?;
                    }
                }
                ".address_size" => self.address_size()?,
                ".file" | ".loc" => self.skip_line(),
                ".section" => self.section()?,
                ".pragma" => self.pragma()?,
                _ => self.declaration(&mut module)?,
            }
        }
        match self.peek() {
            Kind::End if module.version == (0, 0) => self.error("`.version`"),
            Kind::End if module.target.is_empty() => self.error("`.target`"),
            Kind::End => Ok(module),
            _ => self.error("a directive"),
        }
    }

    fn version(&mut self) -> Parsed<(u32, u32)> {
        match self.number()? {
            Number::Double(bits) => {
                let tenths = (f64::from_bits(bits) * 10.0).round().clamp(0.0, 1e6) as u32;
                Ok((tenths / 10, tenths % 10))
            }
            _ => self.error("a version such as 7.8"),
        }
    }

    fn address_size(&mut self) -> Parsed<()> {
        self.at += 1;
        match self.integer()? {
            64 => Ok(()),
            size => {
                Err(PtxError::new(self.line(), format!(".address_size {size} is not supported")))
            }
        }
    }

    /// Debugging information.
    fn section(&mut self) -> Parsed<()> {
        while !matches!(self.peek(), Kind::Mark('}') | Kind::End) {
            self.at += 1;
        }
        self.expect('}')
    }

    /// Advice to the optimiser.
    pub(super) fn pragma(&mut self) -> Parsed<()> {
        while !self.accept(';') {
            if self.next() == Kind::End {
                return self.error("`;`");
            }
        }
        Ok(())
    }

    /// A variable or a function, with its linkage before it.
    fn declaration(&mut self, module: &mut Module<'a>) -> Parsed<()> {
        let mut external = false;
        loop {
            match self.peek() {
                Kind::Word(".extern") => external = true,
                Kind::Word(".visible" | ".weak" | ".common") => {}
                _ => break,
            }
            self.at += 1;
        }
        match self.peek() {
            Kind::Word(".entry" | ".func") => module.functions.push(self.function()?),
            _ => {
                for mut variable in self.variables()? {
                    variable.external = external;
                    module.variables.push(variable);
                }
            }
        }
        Ok(())
    }

    fn function(&mut self) -> Parsed<Function<'a>> {
        let is_entry = self.word()? == ".entry";
        while self.accept_word(".attribute") {
            self.skip_parentheses()?;
        }
        let returns = self.parameters()?;
        let line = self.line();
        let name = self.word()?;
        let parameters = self.parameters()?;
        let bounds = self.bounds()?;
        let body = if self.accept(';') { None } else { Some(self.body()?) };
        Ok(Function { line, name, is_entry, returns, parameters, bounds, body })
    }

    fn skip_parentheses(&mut self) -> Parsed<()> {
        while !self.accept(')') {
            if self.next() == Kind::End {
                return self.error("`)`");
            }
        }
        Ok(())
    }

    /// The performance directives between a function's head and its body.
    fn bounds(&mut self) -> Parsed<Bounds> {
        let mut bounds = Bounds::default();
        while let Kind::Word(word) = self.peek() {
            self.at += 1;
            match word {
                ".maxntid" => bounds.max_threads = self.dimensions()?,
                ".reqntid" => bounds.required_threads = self.dimensions()?,
                ".maxnreg" | ".minnctapersm" | ".maxnctapersm" => {
                    self.integer()?;
                }
                ".noreturn" => {}
                ".pragma" => self.pragma()?,
                _ => {
                    self.at -= 1;
                    return self.error("a function's body");
                }
            }
        }
        Ok(bounds)
    }

    fn dimensions(&mut self) -> Parsed<[u32; 3]> {
        let mut sizes = [1; 3];
        for (i, size) in sizes.iter_mut().enumerate() {
            if i > 0 && !self.accept(',') {
                break;
            }
            *size = u32::try_from(self.integer()?).unwrap_or(u32::MAX);
        }
        Ok(sizes)
    }

    /// A list of parameters in parentheses, if there is one.
    pub(super) fn parameters(&mut self) -> Parsed<Vec<Variable<'a>>> {
        if self.accept('(') { self.list(')', Self::parameter) } else { Ok(Vec::new()) }
    }

    /// `.param .align 8 .b8 name[16]`, `.reg .u32 name`, and `_` for a name in a prototype.
    fn parameter(&mut self) -> Parsed<Variable<'a>> {
        let (space, ty, align) = self.head()?;
        self.declarator(space, ty, align)
    }

    /// One declaration of variables, with its semicolon.
    pub(super) fn variables(&mut self) -> Parsed<Vec<Variable<'a>>> {
        let (space, ty, align) = self.head()?;
        if space.is_none() {
            return self.error("a variable in memory");
        }
        let mut variables = Vec::new();
        while variables.is_empty() || self.accept(',') {
            let mut variable = self.declarator(space, ty, align)?;
            if self.accept('=') {
                self.initial(&mut variable.initial)?;
            }
            variables.push(variable);
        }
        self.expect(';')?;
        Ok(variables)
    }

    /// State space, alignment and type; `.ptr` says what a pointer points to, which changes nothing.
    fn head(&mut self) -> Parsed<(Option<Space>, Type, usize)> {
        let word = self.word()?;
        let space = word.strip_prefix('.').and_then(Space::named);
        if space.is_none() && word != ".reg" {
            self.at -= 1;
            return self.error("a state space");
        }
        let (mut align, mut pointee, mut ty) = (0, 0, None);
        while let Kind::Word(word) = self.peek() {
            let Some(name) = word.strip_prefix('.') else { break };
            self.at += 1;
            match name {
                "align" if ty.is_some() => pointee = self.count()?,
                "align" => align = self.count()?,
                "ptr" | "const" | "global" | "local" | "shared" => {}
                _ => ty = Some(self.ty(name)?),
            }
        }
        let known = ty.filter(|_| pointee < 1 << 20);
        known.map_or_else(|| self.error("a type"), |ty| Ok((space, ty, align)))
    }

    pub(super) fn ty(&self, name: &str) -> Parsed<Type> {
        let ty = Type::named(name);
        ty.ok_or_else(|| PtxError::new(self.line(), format!("the type .{name} is not supported")))
    }

    fn declarator(
        &mut self,
        space: Option<Space>,
        ty: Type,
        align: usize,
    ) -> Parsed<Variable<'a>> {
        let line = self.line();
        let name = self.word()?;
        let mut length = Some(1);
        while self.accept('[') {
            if self.accept(']') {
                length = None;
            } else {
                let count = self.count()?;
                length = length.and_then(|length: usize| length.checked_mul(count));
                self.expect(']')?;
            }
        }
        let align = align.max(ty.bytes()).max(1);
        Ok(Variable { line, space, align, ty, name, length, initial: vec![], external: false })
    }

    /// An initialiser; nested braces are flattened, as in C.
    fn initial(&mut self, to: &mut Vec<Initial<'a>>) -> Parsed<()> {
        if self.accept('{') {
            while !self.accept('}') {
                self.initial(to)?;
                if !self.accept(',') && self.peek() != Kind::Mark('}') {
                    return self.error("`,`");
                }
            }
            return Ok(());
        }
        to.push(match self.peek() {
            Kind::Word("generic") => {
                self.at += 1;
                self.expect('(')?;
                let name = self.word()?;
                self.expect(')')?;
                Initial::Address { name, offset: self.offset()?, generic: true }
            }
            Kind::Word(name) => {
                self.at += 1;
                Initial::Address { name, offset: self.offset()?, generic: false }
            }
            _ => Initial::Number(self.number()?),
        });
        Ok(())
    }
}
