using AllocTools.Testing;
using Markdig;
using Markdig.Extensions.AutoIdentifiers;
using Markdig.Renderers.Html;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;

namespace AllocTools.Site.Tests;

/// <summary>A document of the repository, parsed as the site parses it.</summary>
internal sealed class Document
{
    private static readonly MarkdownPipeline Pipeline = new MarkdownPipelineBuilder().UsePipeTables().UseAutoIdentifiers(AutoIdentifierOptions.GitHub).Build();

    private readonly MarkdownDocument _syntax;

    private Document(string name)
    {
        Name = name;
        Text = File.ReadAllText(Path);
        _syntax = Markdown.Parse(Text, Pipeline);
    }

    /// <summary>Gets all documents that are part of the site.</summary>
    public static IReadOnlyList<Document> All { get; } =
    [
        .. Directory.EnumerateFiles(Repository.Root, "*.md").Concat(Directory.EnumerateFiles(System.IO.Path.Combine(Repository.Root, "docs"), "*.md"))
            .Select(path => new Document(System.IO.Path.GetRelativePath(Repository.Root, path)))
            .OrderBy(document => document.Name, StringComparer.Ordinal),
    ];

    /// <summary>Gets the path from the repository's root, such as <c>docs/guide.md</c>.</summary>
    public string Name { get; }

    public string Path => System.IO.Path.Combine(Repository.Root, Name);

    public string Text { get; }

    public IEnumerable<CodeBlock> CodeBlocks =>
        _syntax.Descendants<FencedCodeBlock>().Select(block => new CodeBlock(Name, block.Line + 1, block.Info ?? "", block.Lines.ToString() + "\n", MarkAbove(block)));

    /// <summary>Gets the targets of all links and images.</summary>
    public IEnumerable<string> Links => _syntax.Descendants<LinkInline>().Select(link => link.Url!).Where(url => url is not null);

    /// <summary>Gets the text between single backticks.</summary>
    public IEnumerable<string> InlineCode => _syntax.Descendants<CodeInline>().Select(code => code.Content);

    /// <summary>Gets the anchors that links may refer to.</summary>
    public IReadOnlySet<string> Anchors => _syntax.Descendants<HeadingBlock>().Select(heading => heading.GetAttributes().Id!).ToHashSet(StringComparer.Ordinal);

    public static Document Named(string name) => All.Single(document => document.Name == name);

    public override string ToString() => Name;

    private static string MarkAbove(FencedCodeBlock block) => block.Parent!.IndexOf(block) is > 0 and var index && block.Parent[index - 1] is HtmlBlock html ? html.Lines.ToString().Trim() : "";
}

/// <param name="Document">The document's name.</param>
/// <param name="Line">The line of the opening fence, counted from 1.</param>
/// <param name="Language">The text after the opening fence.</param>
/// <param name="Code">The lines of the block.</param>
/// <param name="Mark">The comment directly above the block, or an empty string.</param>
internal sealed record CodeBlock(string Document, int Line, string Language, string Code, string Mark)
{
    public override string ToString() => $"{Document}:{Line}";
}
