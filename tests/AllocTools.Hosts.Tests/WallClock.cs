using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>The wall clock of some processes, which jumps. All their other clocks go on as they are.</summary>
/// <remarks>
/// The kernel has one wall clock for all. A library of the tests' own (native/wallclock.c), which is loaded before the others, takes the
/// place of the functions of the C library by which .NET, libfabric and UCX read it.
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

    /// <summary>What starts a program with this clock.</summary>
    public string[] Prefix => ["env", $"LD_PRELOAD={Library}", $"ALLOCTOOLS_WALL_CLOCK={Offset}"];

    private string Library => Path.Combine(_folder.Path, "wallclock.so");

    private string Offset => Path.Combine(_folder.Path, "offset");

    /// <summary>Sets it apart from the system's.</summary>
    public void Jump(int days)
    {
        // Written in one call into the file that the processes have mapped.
        using FileStream file = new(Offset, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(BitConverter.GetBytes(days * 86_400L));
    }

    public void Dispose() => _folder.Dispose();
}
