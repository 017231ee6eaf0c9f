using Spectre.Console;

namespace AllocTools.Benchmarks;

/// <summary>Creates the printed tables in a form that can be copied into documents.</summary>
internal static class MarkdownTable
{
    /// <summary>Creates a table without rows, whose columns are never broken.</summary>
    /// <param name="columns">The heads of the columns.</param>
    public static Table Of(params ReadOnlySpan<string> columns)
    {
        Table table = new() { Expand = false };
        table.Border(TableBorder.Markdown);
        foreach (string column in columns)
            table.AddColumn(new TableColumn(column).NoWrap());
        return table;
    }
}
