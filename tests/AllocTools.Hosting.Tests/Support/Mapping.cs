using System.Globalization;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>What the kernel reports about this process's memory (proc_pid_smaps(5), numa(7)).</summary>
internal static class Mapping
{
    /// <summary>Returns the flags of the mapping that contains the address.</summary>
    public static string FlagsOf(nint address)
    {
        bool isInside = false;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            string first = line.Split(' ', 2)[0];
            if (first.Contains('-', StringComparison.Ordinal))
            {
                nint[] range = [.. first.Split('-').Select(a => nint.Parse(a, NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
                isInside = range[0] <= address && address < range[1];
            }
            else if (isInside && first == "VmFlags:")
                return line;
        }
        throw new InvalidOperationException($"{address:x} is not mapped.");
    }

    /// <summary>Returns the policy of the mapping that begins with the address.</summary>
    public static string NumaPolicyOf(nint address) => File.ReadLines("/proc/self/numa_maps")
        .First(line => line.StartsWith(address.ToString("x", CultureInfo.InvariantCulture), StringComparison.Ordinal));
}
