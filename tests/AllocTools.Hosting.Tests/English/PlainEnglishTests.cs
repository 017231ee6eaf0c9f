using System.Text.RegularExpressions;
using System.Xml.Linq;
using AllocTools.Testing;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Xunit;

namespace AllocTools.Hosting.Tests.English;

/// <summary>
/// Tests that messages and XML documentation use plain English: none contains a phrase that was found to be hard to
/// understand.
/// </summary>
public sealed class PlainEnglishTests
{
    /// <summary>Phrases, as regular expressions, and what to write instead.</summary>
    private static readonly (string Phrase, string Better)[] Phrases =
    [
        (@"(?<![Tt]here )\b(is|was|are|it's) no (?!longer\b|more\b|less\b)[a-z]", "\"is not a …\""),
        (@"\bis none of\b|\bare none of\b", "\"is not one of …\" or \"does not belong to …\""),
        (@"\b(has|have|had) not[,.;:]", "\"does not have\""),
        (@"\b[Ww]as (\S+ )?meant\?", "\"Did you mean …?\""),
        (@"\bis not 0\b", "\"must not be 0\""),
        (@"\bbooks?\b", "\"statistics\""),
        (@"\bwho waits\b|\bwho wait\b", "\"waiters\""),
        (@"\b(was|were|be|is|are) told\b", "\"reported\" or \"notified\""),
        (@"\btold apart\b", "\"distinguished\""),
        (@"\bof late\b", "\"recently\""),
        (@"\bby and by\b", "\"gradually\""),
        (@"\bfor good\b", "\"permanently\""),
        (@"\bwhat is out\b|\bstill out\b|\b(is|are|was|were) out([.,;]| and\b)", "\"rented buffers\""),
        (@"\bnobody in particular\b|\bat its ease\b|\bin nobody's way\b|\bwhoever\b", "a subject that does something"),
        (@"\banybody\b|\banybody's\b", "\"any thread\" or \"any caller\""),
        (@"\breach(es)? out of\b", "\"exceeds\""),
        (@"\bthat there are\b", "\"is out of range: there are …\""),
        (@"\b(are|is) the most\b", "\"must have at most …\""),
        (@"\bThis is said\b|\bthis is said\b", "\"This is logged\""),
        (@"\bhas it Use[A-Z]", "\"Check that …\""),
        (@"\b(who|which|that) (is|are|was|were) given it\b", "a subject that does something"),
        (@"\bof the (application|caller|pool|peer|owner)'s(?=[,.;:]|$| (that|which|and|or|is|was|where)\b)", "\"of the application\""),
        (@"\bas it must\b|\bas they must\b", "what it must do"),
        (@"; it is \d", "\"it must be …\""),
    ];

    public static TheoryData<string> Projects =>
    [
        .. Directory.EnumerateDirectories(Path.Combine(Repository.Root, "src")).Where(static folder => Directory.EnumerateFiles(folder, "*.csproj").Any()).Select(static folder => Path.GetFileName(folder)),
    ];

    [Theory]
    [MemberData(nameof(Projects))]
    public void Messages_have_no_phrase_that_is_hard_to_understand(string project) => AssertPlain(SourcesOf(project).SelectMany(StringsOf));

    [Theory]
    [MemberData(nameof(Projects))]
    public void Documentation_has_no_phrase_that_is_hard_to_understand(string project) => AssertPlain(SourcesOf(project).SelectMany(DocumentationOf));

    [Fact]
    public void All_projects_are_read() => Assert.All(Projects, static row => Assert.NotEmpty(SourcesOf(row.Data)));

    [Theory]
    [InlineData("MaxSlabBytes is 5; it is 65536 to 17179869184 bytes.")]
    [InlineData("The address of memory to register is not 0.")]
    [InlineData("AllocTools:MaxSlabByte is no option. Was MaxSlabBytes meant?")]
    [InlineData("NumaNode is 7, which this system has not.")]
    [InlineData("12 bytes from offset 5 on reach out of a whole of 16 bytes.")]
    [InlineData("The buffer was rented by nobody in particular.")]
    [InlineData("Pool 'default' waits for the buffers that are still out.")]
    [InlineData("MaxSlabBytes of the application's, 5 bytes.")]
    public void The_texts_that_were_found_would_fail(string text) => Assert.NotEmpty(Mistakes([text]));

    /// <summary>
    /// Phrases are also found between, before and after the values of an interpolated string, and in texts that a value
    /// selects.
    /// </summary>
    [Theory]
    [InlineData("""$"{name} is {value}; it is {least} to {most} bytes." """)]
    [InlineData("""$"{path} can't be read. Was {other} meant?" """)]
    [InlineData("""$"{count} {(count == 1 ? "buffer is" : "buffers are")} out and {bytes} are registered." """)]
    [InlineData("""$"{count} buffers " + $"are out and {bytes} are registered." """)]
    [InlineData("""$"{what switch { 1 => "The memory", _ => "nobody in particular" }} has rented it." """)]
    [InlineData("""$"{name} of the {what}'s, which " + "this system has not." """)]
    public void The_texts_that_were_found_would_fail_in_code(string code) => Assert.NotEmpty(Mistakes(InExpression(code)));

    [Fact]
    public void Code_in_plain_English_passes() => Assert.Empty(Mistakes(InExpression("""$"{name} is {value}; it must be between {least} and {most} bytes." """)));

    private static void AssertPlain(IEnumerable<string> texts)
    {
        string[] mistakes = [.. Mistakes(texts).Distinct()];
        Assert.True(mistakes.Length == 0, string.Join('\n', mistakes));
    }

    private static IEnumerable<string> Mistakes(IEnumerable<string> texts) =>
        from text in texts
        from phrase in Phrases
        let found = Regex.Match(text, phrase.Phrase)
        where found.Success
        select $"'{found.Value}' in \"{text}\": write {phrase.Better}.";

    /// <summary>Returns the code of a project, and that of the template that it packs.</summary>
    private static List<SyntaxNode> SourcesOf(string project) =>
    [
        .. Directory.EnumerateFiles(Path.Combine(Repository.Root, "src", project), "*.cs", SearchOption.AllDirectories)
            .Where(static path => !path.Contains("/obj/", StringComparison.Ordinal) && !path.Contains("/bin/", StringComparison.Ordinal))
            .Select(static path => CSharpSyntaxTree.ParseText(File.ReadAllText(path), new CSharpParseOptions(documentationMode: DocumentationMode.Parse)).GetRoot()),
    ];

    private static IEnumerable<string> InExpression(string expression) => StringsOf(SyntaxFactory.ParseExpression(expression));

    /// <summary>Returns the texts in the code: literals, and whole interpolated or concatenated strings.</summary>
    private static IEnumerable<string> StringsOf(SyntaxNode code) => code.DescendantNodesAndSelf()
        .Where(static node => node is InterpolatedStringExpressionSyntax || node.IsKind(SyntaxKind.StringLiteralExpression) || (node.IsKind(SyntaxKind.AddExpression) && !node.Parent.IsKind(SyntaxKind.AddExpression)))
        .SelectMany(static node => TextsOf((ExpressionSyntax)node));

    /// <summary>Returns the texts that an expression may produce. An unknown value is replaced by a number.</summary>
    private static List<string> TextsOf(ExpressionSyntax expression) => expression switch
    {
        LiteralExpressionSyntax { Token.Value: string text } => [text],
        InterpolatedStringExpressionSyntax text => Joined(text.Contents.Select(static part => part switch
        {
            InterpolatedStringTextSyntax literal => [literal.TextToken.ValueText],
            InterpolationSyntax hole => TextsOf(hole.Expression),
            _ => [],
        })),
        BinaryExpressionSyntax sum when sum.IsKind(SyntaxKind.AddExpression) => Joined([TextsOf(sum.Left), TextsOf(sum.Right)]),
        ParenthesizedExpressionSyntax inner => TextsOf(inner.Expression),
        ConditionalExpressionSyntax choice => [.. TextsOf(choice.WhenTrue), .. TextsOf(choice.WhenFalse)],
        SwitchExpressionSyntax choice => [.. choice.Arms.SelectMany(static arm => TextsOf(arm.Expression))],
        _ => ["5"],
    };

    /// <summary>Concatenates texts. If parts have several alternatives, each of them occurs in at least one result.</summary>
    private static List<string> Joined(IEnumerable<List<string>> parts)
    {
        List<string>[] all = [.. parts.Where(static texts => texts.Count > 0)];
        int most = all.Select(static texts => texts.Count).DefaultIfEmpty(1).Max();
        return [.. Enumerable.Range(0, most).Select(i => string.Concat(all.Select(texts => texts[i % texts.Count])))];
    }

    /// <summary>Returns the text of each element of the documentation of public members, without code.</summary>
    private static IEnumerable<string> DocumentationOf(SyntaxNode code) =>
        from member in code.DescendantNodes().OfType<MemberDeclarationSyntax>()
        where member.AncestorsAndSelf().OfType<MemberDeclarationSyntax>().All(IsPublic)
        from comment in member.GetLeadingTrivia().Select(static trivia => trivia.GetStructure()).OfType<DocumentationCommentTriviaSyntax>()
        from element in XElement.Parse($"<member>{Regex.Replace(comment.ToString(), @"^\s*///", "", RegexOptions.Multiline)}</member>").Elements()
        where element.Name.LocalName is not "example"
        let text = TextOf(element)
        where text.Length != 0
        select text;

    private static bool IsPublic(MemberDeclarationSyntax member) =>
        member is BaseNamespaceDeclarationSyntax or EnumMemberDeclarationSyntax
        || member.Parent is InterfaceDeclarationSyntax
        || member.Modifiers.Any(static modifier => modifier.IsKind(SyntaxKind.PublicKeyword) || modifier.IsKind(SyntaxKind.ProtectedKeyword));

    private static string TextOf(XElement element) => Regex.Replace(
        string.Concat(element.Nodes().Select(static node => node switch
        {
            XText text => text.Value,
            XElement { Name.LocalName: "c" or "code" } => "…",
            XElement { Name.LocalName: "see" or "paramref" } => "…",
            XElement other => TextOf(other),
            _ => "",
        })),
        @"\s+",
        " ").Trim();
}
