using Spectre.Console;

namespace AllocTools.Benchmarks;

/// <summary>The tables that are printed, in a form that documents take.</summary>
internal static class MarkdownTable
{
    /// <summary>A table without rows, whose columns are never broken.</summary>
    /// <param name="columns">Their heads.</param>
    public static Table Of(params ReadOnlySpan<string> columns)
    {
        Table table = new() { Expand = false };
        table.Border(TableBorder.Markdown);
        foreach (string column in columns)
            table.AddColumn(new TableColumn(column).NoWrap());
        return table;
    }
}
