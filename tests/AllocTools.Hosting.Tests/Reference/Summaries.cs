using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using AllocTools.Connections;
using AllocTools.Connections.Redis;
using AllocTools.Hosting.Configuration;
using AllocTools.Providers;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>The summaries of the XML documentation, as plain text.</summary>
internal static partial class Summaries
{
    private static readonly Dictionary<string, XElement> Members = new[] { typeof(RmaMemoryPoolOptions), typeof(RmaConnectionOptions), typeof(RmaRedisDirectoryOptions) }
        .SelectMany(t => XDocument.Load(Path.ChangeExtension(t.Assembly.Location, ".xml")).Descendants("member"))
        .DistinctBy(m => m.Attribute("name")!.Value)
        .ToDictionary(m => m.Attribute("name")!.Value, m => m.Element("summary")!);

    /// <summary>
    /// Returns what a property does. Unit, range and default are shown elsewhere; a default of none or null is
    /// explained here.
    /// </summary>
    public static string Of(PropertyInfo property)
    {
        IEnumerable<string> sentences = SentenceEnd().Split(TextOf($"P:{property.DeclaringType!.FullName}.{property.Name}"))
            .Where(s => !s.StartsWith("Unit: ", StringComparison.Ordinal) && !s.StartsWith("Range: ", StringComparison.Ordinal))
            .Where(s => !s.StartsWith("Default: ", StringComparison.Ordinal) || s.StartsWith("Default: none,", StringComparison.Ordinal));
        return string.Join(' ', sentences);
    }

    /// <summary>Returns the meaning of each name of a choice.</summary>
    public static IEnumerable<string> OfChoices(RmaOptionKey key, PropertyInfo property) =>
        key.Choices.Select(name => $"`{name}`: {TextOf($"F:{property.PropertyType.FullName}.{name}")}");

    private static string TextOf(string member) => WhiteSpace().Replace(string.Concat(Members[member].Nodes().Select(Text)), " ").Trim();

    private static string Text(XNode node) => node switch
    {
        XText text => text.Value,
        XElement { Name.LocalName: "see" } see => "`" + (see.Attribute("cref")?.Value.Split('(')[0].Split('.')[^1] ?? see.Attribute("langword")?.Value) + "`",
        XElement { Name.LocalName: "c" } code => $"`{code.Value}`",
        XElement other => string.Concat(other.Nodes().Select(Text)),
        _ => "",
    };

    [GeneratedRegex(@"\s+")]
    private static partial Regex WhiteSpace();

    [GeneratedRegex(@"(?<=\.) ")]
    private static partial Regex SentenceEnd();
}
