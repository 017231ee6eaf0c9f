namespace AllocTools.Benchmarks.Pairs;

/// <summary>Formats sizes for the report.</summary>
internal static class ByteSize
{
    public static string Text(int bytes) => bytes >= 1 << 20 ? $"{bytes >> 20} MiB" : bytes >= 1 << 10 ? $"{bytes >> 10} KiB" : $"{bytes} B";
}
