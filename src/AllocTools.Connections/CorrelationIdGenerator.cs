using System.Globalization;
using System.Security.Cryptography;

namespace AllocTools.Connections;

/// <summary>Names of connections in logs: unique in the process, and unlike those of another start.</summary>
internal static class CorrelationIdGenerator
{
    private static readonly string Start = Convert.ToHexString(RandomNumberGenerator.GetBytes(4));
    private static long s_last;

    public static string Next() => string.Create(CultureInfo.InvariantCulture, $"R{Start}{Interlocked.Increment(ref s_last):X}");
}
