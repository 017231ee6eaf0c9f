using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using AllocTools.Connections;
using AllocTools.Connections.Redis;
using OpenTelemetry.Metrics;
using Xunit;

namespace AllocTools.Hosting.Tests.English;

/// <summary>Messages and XML documentation keep to plain English: none has a phrase that was found to be hard to understand.</summary>
public sealed class PlainEnglishTests
{
    /// <summary>A phrase, as a regular expression, and what to write instead.</summary>
    private static readonly (string Phrase, string Better)[] Phrases =
    [
        (@"(?<![Tt]here )\b(is|was|are|it's) no (?!longer\b|more\b|less\b)[a-z]", "\"is not a …\""),
        (@"\bis none of\b|\bare none of\b", "\"is not one of …\" or \"does not belong to …\""),
        (@"\b(has|have|had) not[,.;:]", "\"does not have\""),
        (@"\bwas meant\?", "\"Did you mean …?\""),
        (@"\bis not 0\b", "\"must not be 0\""),
        (@"\bbooks?\b", "\"statistics\""),
        (@"\bwho waits\b|\bwho wait\b", "\"waiters\""),
        (@"\b(was|were|be|is|are) told\b", "\"reported\" or \"notified\""),
        (@"\btold apart\b", "\"distinguished\""),
        (@"\bof late\b", "\"recently\""),
        (@"\bby and by\b", "\"gradually\""),
        (@"\bfor good\b", "\"permanently\""),
        (@"\bwhat is out\b|\bstill out\b|\b(is|are|was|were) out[.,;]", "\"rented buffers\""),
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

    private static readonly Type[] OfEachLibrary = [typeof(RmaMemoryPoolOptions), typeof(IRmaMemoryPoolBuilder), typeof(RmaConnectionOptions), typeof(RmaRedisDirectoryOptions), typeof(AllocToolsMeterProviderBuilderExtensions)];

    public static TheoryData<string> Libraries => [.. OfEachLibrary.Select(static t => t.Assembly.GetName().Name!)];

    [Theory]
    [MemberData(nameof(Libraries))]
    public void Messages_have_no_phrase_that_is_hard_to_understand(string library) => AssertPlain(StringsOf(PathOf(library, ".dll")));

    [Theory]
    [MemberData(nameof(Libraries))]
    public void Documentation_has_no_phrase_that_is_hard_to_understand(string library) =>
        AssertPlain(DocumentationOf(PathOf(library, ".xml"), OfEachLibrary.Single(t => t.Assembly.GetName().Name == library).Assembly));

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

    private static string PathOf(string library, string extension)
    {
        string path = Path.Combine(AppContext.BaseDirectory, library + extension);
        return File.Exists(path) ? path : throw new FileNotFoundException($"{path} is missing; each library must be built with its documentation.");
    }

    private static void AssertPlain(IReadOnlyCollection<string> texts)
    {
        Assert.NotEmpty(texts);
        string[] mistakes = [.. Mistakes(texts)];
        Assert.True(mistakes.Length == 0, string.Join('\n', mistakes));
    }

    private static IEnumerable<string> Mistakes(IEnumerable<string> texts) =>
        from text in texts
        from phrase in Phrases
        let found = Regex.Match(text, phrase.Phrase)
        where found.Success
        select $"'{found.Value}' in \"{text}\": write {phrase.Better}.";

    /// <summary>The string literals of an assembly, the parts of interpolated ones included.</summary>
    private static List<string> StringsOf(string path)
    {
        using var file = new PEReader(File.OpenRead(path));
        MetadataReader reader = file.GetMetadataReader();
        List<string> texts = [];
        for (UserStringHandle handle = reader.GetNextHandle(default(UserStringHandle)); !handle.IsNil; handle = reader.GetNextHandle(handle))
            texts.Add(reader.GetUserString(handle));
        return texts;
    }

    /// <summary>The text of each element of the documentation of public types, without code.</summary>
    private static List<string> DocumentationOf(string path, Assembly assembly)
    {
        HashSet<string> types = [.. assembly.GetExportedTypes().Select(static t => t.FullName!.Replace('+', '.'))];
        return
        [
            .. from member in XDocument.Load(path).Descendants("member")
               let name = member.Attribute("name")!.Value[2..].Split('(')[0]
               where types.Contains(name) || types.Contains(name[..name.LastIndexOf('.')])
               from element in member.Elements()
               where element.Name.LocalName is not "example"
               let text = TextOf(element)
               where text.Length != 0
               select text,
        ];
    }

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
