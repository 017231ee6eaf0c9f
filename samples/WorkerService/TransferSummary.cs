using System.Diagnostics;
using System.Globalization;
using System.Text;
using AllocTools;

namespace WorkerService;

/// <summary>What one side did; times in seconds, the pool's counts since the process began.</summary>
internal sealed record TransferSummary(
    string Role, string Provider, string FileName, string? SavedAs, long Start, long Bytes, double Seconds, string Sha256, long Rents, long Hits, long Misses, long Registrations, long RegistrationsAfterWarmUp, long RegisteredBytes)
{
    private double MegabytesPerSecond => Seconds > 0 ? (Bytes - Start) / Seconds / 1e6 : 0;

    /// <summary>Words and numbers: a column for each side.</summary>
    public static string ToText(TransferSummary[] sides)
    {
        TransferSummary any = sides[0];
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{any.FileName}: {any.Bytes:N0} bytes in {any.Seconds:0.000} s over {any.Provider}, {any.MegabytesPerSecond:N0} MB/s\n");
        if (any.Start > 0)
            text.Append(CultureInfo.InvariantCulture, $"resumed at {any.Start:N0} bytes\n");
        text.Append(CultureInfo.InvariantCulture, $"SHA-256 {any.Sha256}, the same on both sides\n");
        if (Array.Find(sides, s => s.SavedAs is not null) is { } receiver)
            text.Append(CultureInfo.InvariantCulture, $"kept as {receiver.SavedAs}\n");
        Row("", s => s.Role);
        Row("MB/s", s => Number((long)Math.Round(s.MegabytesPerSecond)));
        Row("rents", s => Number(s.Rents));
        Row("hits", s => Number(s.Hits));
        Row("misses", s => Number(s.Misses));
        Row("registrations made", s => Number(s.Registrations));
        Row("registrations made after warm-up", s => Number(s.RegistrationsAfterWarmUp));
        Row("registrations saved", s => Number(Math.Max(0, s.Rents - s.Registrations)));
        Row("bytes registered", s => Number(s.RegisteredBytes));
        return text.ToString();

        static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
        void Row(string label, Func<TransferSummary, string> value) => text.Append(label.PadRight(34)).AppendJoin("", sides.Select(s => value(s).PadLeft(12))).Append('\n');
    }

    /// <summary>Counts what a pool does from now on: the connection is there, with a registration of its own where the transport enforces access.</summary>
    public sealed class Counter(IRmaMemoryPool pool)
    {
        private readonly long _warm = pool.GetStatistics().Registrations;
        private readonly long _started = Stopwatch.GetTimestamp();

        public TransferSummary Summarize(string role, Offer file, long start, byte[] hash, string? savedAs)
        {
            double seconds = Stopwatch.GetElapsedTime(_started).TotalSeconds;
            RmaPoolStatistics now = pool.GetStatistics();
            return new TransferSummary(
                role, pool.Context.Traits.ProviderName, file.Name, savedAs, start, file.Length, seconds, Convert.ToHexStringLower(hash),
                now.Rents, now.Hits, now.Misses, now.Registrations, now.Registrations - _warm, now.RegisteredBytes);
        }
    }
}
