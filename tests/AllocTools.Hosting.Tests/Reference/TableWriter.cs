using AllocTools.Hosting.Configuration;
using AllocTools.Validation;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>The tables of docs/configuration.md.</summary>
internal static class TableWriter
{
    public static IEnumerable<string> Table(IEnumerable<ReferenceKey> keys) =>
    [
        "| key | value | default | a change takes effect | what it does |",
        "|---|---|---|---|---|",
        .. keys.SelectMany(k => k.All).Select(Row),
    ];

    private static string Row(ReferenceKey key) =>
        $"| `{key.Path}` | {ValueOf(key)} | {(key.Default is null ? "none" : $"`{key.Default}`")} | {(key.IsLive ? "live" : "restart")} | {key.Summary} |";

    private static string ValueOf(ReferenceKey key) => key.Key.Kind switch
    {
        OptionKind.Integer => $"whole number: {((OptionRangeAttribute)key.Rule!).Range}",
        OptionKind.Size => $"size: {RangeOf((OptionRangeAttribute)key.Rule!)}",
        OptionKind.Duration => $"time: {((OptionTimeRangeAttribute)key.Rule!).Range}",
        OptionKind.Flag => "`true`, `false`",
        OptionKind.Choice => string.Join(", ", key.Key.Choices.Select(c => $"`{c}`")),
        OptionKind.Choices => $"some of {string.Join(", ", key.Key.Choices.Select(c => $"`{c}`"))}, with commas between",
        OptionKind.Text => "text",
        OptionKind.Section => "object",
        OptionKind.List => "list of objects",
        OptionKind.Map => "object of names and texts",
        _ => throw new InvalidOperationException($"The kind {key.Key.Kind} of {key.Path} has no text here."),
    };

    private static string RangeOf(OptionRangeAttribute range) =>
        $"{SizeText.Of(range.Least)} to {SizeText.Of(range.Most)}" + (range.Multiple == 1 ? "" : $", a multiple of {SizeText.Of(range.Multiple)}");
}
