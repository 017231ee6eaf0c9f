using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>A wall clock for some processes that can jump. All their other clocks are unaffected.</summary>
/// <remarks>
/// The kernel has one wall clock for all processes. A library of the tests (native/wallclock.c), which is loaded before
/// the others, replaces the functions of the C library with which .NET, libfabric and UCX read it.
/// </remarks>
internal sealed class WallClock : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public WallClock()
    {
        Jump(0);
        NativeLayout.Execute(
            "cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", Library, Path.Combine(Repository.Root, "tests", "AllocTools.Hosts.Tests", "native", "wallclock.c"));
    }

    /// <summary>Gets the command prefix that starts a program with this clock.</summary>
    public string[] Prefix => ["env", $"LD_PRELOAD={Library}", $"ALLOCTOOLS_WALL_CLOCK={Offset}"];

    private string Library => Path.Combine(_folder.Path, "wallclock.so");

    private string Offset => Path.Combine(_folder.Path, "offset");

    /// <summary>Sets its difference from the system's clock.</summary>
    public void Jump(int days)
    {
        // This writes, in one call, to the file that the processes have mapped.
        using FileStream file = new(Offset, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(BitConverter.GetBytes(days * 86_400L));
    }

    public void Dispose() => _folder.Dispose();
}
