using AllocTools.Hosting.Configuration;
using AllocTools.Providers;
using AllocTools.Validation;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>Writes the tables of docs/configuration.md.</summary>
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
        RmaOptionKind.Integer => $"whole number: {((OptionRangeAttribute)key.Rule!).Range}",
        RmaOptionKind.Size => $"size: {RangeOf((OptionRangeAttribute)key.Rule!)}",
        RmaOptionKind.Duration => $"time: {((OptionTimeRangeAttribute)key.Rule!).Range}",
        RmaOptionKind.Flag => "`true`, `false`",
        RmaOptionKind.Choice => string.Join(", ", key.Key.Choices.Select(c => $"`{c}`")),
        RmaOptionKind.Choices => $"one or more of {string.Join(", ", key.Key.Choices.Select(c => $"`{c}`"))}, separated by commas",
        RmaOptionKind.Text => "text",
        RmaOptionKind.Section => "object",
        RmaOptionKind.List => "list of objects",
        RmaOptionKind.Map => "object of names and strings",
        _ => throw new InvalidOperationException($"The kind {key.Key.Kind} of {key.Path} has no text here."),
    };

    private static string RangeOf(OptionRangeAttribute range) =>
        $"{SizeText.Of(range.Least)} to {SizeText.Of(range.Most)}" + (range.Multiple == 1 ? "" : $", a multiple of {SizeText.Of(range.Multiple)}");
}
