using System.Globalization;

namespace AllocTools.Tests.Blocks;

/// <summary>
/// Huge pages that the kernel reserves for the duration of a test, as far as it has them and this user may reserve
/// them.
/// </summary>
internal sealed class ReservedHugePages : IDisposable
{
    private const string File = "/proc/sys/vm/nr_hugepages";
    private readonly string _before = System.IO.File.ReadAllText(File);

    public ReservedHugePages(int count)
    {
        if (Environment.IsPrivilegedProcess)
            System.IO.File.WriteAllText(File, count.ToString(CultureInfo.InvariantCulture));
        Count = int.Parse(System.IO.File.ReadAllText(File), CultureInfo.InvariantCulture);
    }

    /// <summary>Gets the number of huge pages.</summary>
    public int Count { get; }

    public void Dispose()
    {
        if (Environment.IsPrivilegedProcess)
            System.IO.File.WriteAllText(File, _before);
    }
}
