using System.Globalization;
using AllocTools;
using Spectre.Console;

namespace WorkerService.Observing;

/// <summary>The books of pools as a table: one row a size class, with a bar of what of the cap is rented and idle.</summary>
internal static class PoolTable
{
    private const int BarWidth = 24;

    public static Table Of(IReadOnlyList<IRmaMemoryPool> pools)
    {
        var table = new Table().Border(TableBorder.Rounded)
            .AddColumn("pool").AddColumn("class").AddColumn(new TableColumn($"[green]rented[/] [yellow]idle[/] of the cap").NoWrap());
        foreach (string name in new[] { "rented", "idle", "hits", "misses", "hit ratio" })
            table.AddColumn(new TableColumn(name).RightAligned().NoWrap());
        foreach (IRmaMemoryPool pool in pools)
        {
            RmaPoolStatistics now = pool.GetStatistics();
            foreach (RmaSizeClassStatistics sizeClass in now.SizeClasses)
                table.AddRow(Row(pool.Name, sizeClass.Name, now.LimitBytes, sizeClass.RentedBytes, sizeClass.IdleBytes, sizeClass.RentedBuffers, sizeClass.IdleBuffers, sizeClass.Hits, sizeClass.Misses));
            table.AddRow(Row(
                pool.Name, $"all, {Number(now.Registrations)} registrations", now.LimitBytes, now.RentedBytes, now.RegisteredBytes - now.RentedBytes,
                now.RentedBuffers, now.SizeClasses.Sum(c => c.IdleBuffers), now.Hits, now.Misses));
            table.AddEmptyRow();
        }
        return table;
    }

    private static string[] Row(string pool, string what, long cap, long rentedBytes, long idleBytes, long rented, long idle, long hits, long misses) =>
    [
        Markup.Escape(pool),
        what,
        Bar(cap, rentedBytes, idleBytes),
        Number(rented),
        Number(idle),
        Number(hits),
        Number(misses),
        hits + misses == 0 ? "-" : ((double)hits / (hits + misses)).ToString("P1", CultureInfo.InvariantCulture),
    ];

    private static string Bar(long cap, long rentedBytes, long idleBytes)
    {
        int rented = Width(rentedBytes);
        int idle = Math.Min(BarWidth - rented, Width(idleBytes));
        return $"[green]{new string('█', rented)}[/][yellow]{new string('▒', idle)}[/][grey]{new string('·', BarWidth - rented - idle)}[/]";

        // What is there is seen, however little it is.
        int Width(long bytes) => bytes <= 0 ? 0 : Math.Clamp((int)Math.Round((double)bytes / cap * BarWidth), 1, BarWidth);
    }

    private static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);
}
