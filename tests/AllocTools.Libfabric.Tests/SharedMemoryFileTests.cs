using System.Diagnostics;
using System.Globalization;
using System.Text;
using AllocTools.Interop;
using AllocTools.Testing;
using AllocTools.Validation;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests a /dev/shm that is small, full of files that killed processes have left, or owned by another user. Each test
/// uses its own mount namespace.
/// </summary>
public sealed class SharedMemoryFileTests
{
    private const int FileSize = 16;

    /// <summary>The free space that libfabric 1.17 requires to offer shm, in MiB.</summary>
    private static readonly int LeastSize = FileSize * Directory.EnumerateDirectories("/sys/devices/system/cpu", "cpu*").Count(d => char.IsAsciiDigit(d[^1]));

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task TooSmallForAnyEndpointIsARefusalThatNamesTheFolderItsSizeAndTheCure()
    {
        string said = await InSmallFolderAsync("256k", "\"$0\" endpoints shm 1");
        Assert.Contains("refused after 0", said, StringComparison.Ordinal);
        Assert.Contains("/dev/shm has a size of 256 KiB", said, StringComparison.Ordinal);
        Assert.Contains(InWords.About((long)LeastSize << 20), said, StringComparison.Ordinal);
        Assert.Contains("--shm-size", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnEndpointForWhichThereIsNoRoomIsRefusedAndTheProcessLives()
    {
        string said = await InSmallFolderAsync($"{LeastSize + (2 * FileSize)}m", "\"$0\" endpoints shm 200; echo status $?; ls /dev/shm | wc -l");
        Assert.Contains("refused after ", said, StringComparison.Ordinal);
        Assert.DoesNotContain("refused after 0", said, StringComparison.Ordinal);
        Assert.Contains($"/dev/shm has a size of {InWords.About((LeastSize + (2L * FileSize)) << 20)}", said, StringComparison.Ordinal);
        Assert.Contains("--shm-size", said, StringComparison.Ordinal);
        Assert.EndsWith("status 0\n0\n", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatKilledProcessesHaveLeftIsRemovedAndWhatLivingOnesHaveIsNot()
    {
        string said = await InSmallFolderAsync(
            $"{LeastSize + (2 * FileSize)}m",
            "mkfifo /tmp/$$.fifo; \"$0\" fabric shm RemoteRead < /tmp/$$.fifo > /tmp/$$.out & exec 3> /tmp/$$.fifo; echo address >&3; "
            + "while [ ! -s /tmp/$$.out ]; do sleep 0.1; done; "
            + "for i in $(seq 20); do \"$0\" endpoints shm 1 kill; done 2>/dev/null; "
            + "\"$0\" endpoints shm 1; ls /dev/shm | wc -l; exec 3>&-; wait; rm /tmp/$$.fifo /tmp/$$.out");
        Assert.Equal(21, said.Split('\n').Count(l => l == "all 1"));
        Assert.EndsWith("\n1\n", said, StringComparison.Ordinal);
    }

    // A process may be stopped for long between opening and locking its file; it then holds the folder's lock, but not
    // the file's.
    [Fact]
    public async Task NothingIsRemovedWhileAnotherProcessHoldsTheLockOnTheFolder()
    {
        string said = await InSmallFolderAsync(
            $"{LeastSize + (2 * FileSize)}m",
            "touch /dev/shm/alloctools-1-lopening:0:0; "
            + "flock /dev/shm \"$0\" endpoints shm 1; ls /dev/shm; "
            + "echo released; \"$0\" endpoints shm 1; ls /dev/shm | wc -l");
        Assert.Equal("all 1\nalloctools-1-lopening:0:0\nreleased\nall 1\n0\n", said);
    }

    [Fact]
    public void AnEndpointWhoseFileAnotherProcessHasLockedIsRefused()
    {
        string name = $"alloctools-{Environment.ProcessId}-l{Guid.NewGuid():N}";
        string path = Path.Combine("/dev/shm", name);
        SafeFileHandle? remover = null;
        try
        {
            RmaProviderException error = Assert.Throws<RmaProviderException>(() => SharedMemoryFile.Make(Enable, Encoding.ASCII.GetBytes($"fi_shm://{name}\0"), mayWait: true, NullLogger.Instance));
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
            Assert.True(error.IsTransient);
        }
        finally
        {
            remover?.Dispose();
            File.Delete(path);
        }

        void Enable()
        {
            File.WriteAllText(path, "");
            remover = FileLocks.Open(path, out _);
            Assert.True(FileLocks.TryLock(remover!));
        }
    }

    [Fact]
    public void ALaneDoesNotWaitForTheLockOnTheFolder()
    {
        using SafeFileHandle folder = FileLocks.Open("/dev/shm", out _)!;
        SpinWait.SpinUntil(() => FileLocks.TryLock(folder));
        RmaProviderException error = Assert.Throws<RmaProviderException>(() => SharedMemoryFile.Make(static () => Assert.Fail("It is not to be opened."), "fi_shm://none\0"u8, mayWait: false, NullLogger.Instance));
        Assert.Equal("FI_EAGAIN", error.ErrorName);
        Assert.True(error.IsTransient);
    }

    [Fact]
    public async Task APeerOfAnotherUserIsRefusedByTheNumbersOfBothUsers()
    {
        await using var pair = new EndpointPair(Fabric.SharedMemoryByAddress);
        string name = $"alloctools-test-{Guid.NewGuid():N}";
        string path = Path.Combine("/dev/shm", name);
        bool isRoot = Environment.UserName == "root";
        if (isRoot)
        {
            await File.WriteAllTextAsync(path, "", Token);
            using Process chown = Process.Start("chown", ["65534", path]);
            await chown.WaitForExitAsync(Token);
        }
        else
        {
            File.CreateSymbolicLink(path, "/etc/passwd");
        }
        try
        {
            RmaProviderException error = Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(Encoding.ASCII.GetBytes($"fi_shm://{name}\0")));
            Assert.Contains($"belongs to user {(isRoot ? 65534 : 0)}", error.Message, StringComparison.Ordinal);
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
            Assert.False(error.IsTransient);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData("alloctools-1-lnobody:0:0", true)]
    [InlineData("../etc/passwd", false)]
    public async Task APeerThatIsNotThereIsRefusedByThePathOfItsFile(string name, bool isTransient)
    {
        await using var pair = new EndpointPair(Fabric.SharedMemoryByAddress);
        RmaProviderException error = Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(Encoding.ASCII.GetBytes($"fi_shm://{name}\0")));
        Assert.Contains($"/dev/shm/{name}", error.Message, StringComparison.Ordinal);
        Assert.Equal(isTransient, error.IsTransient);
    }

    /// <summary>Runs a script with a /dev/shm of a given size; $0 is the peer's program.</summary>
    private static async Task<string> InSmallFolderAsync(string size, string script)
    {
        string peer = Path.Combine(PeerProcess.BuiltFolder, "AllocTools.TestPeer");
        string whole = string.Create(CultureInfo.InvariantCulture, $"mount -t tmpfs -o size={size} tmpfs /dev/shm || exit 99; {script}");
        string[] namespaces = Environment.UserName == "root" ? ["-m"] : ["-r", "-m"];
        using Process process = Process.Start(new ProcessStartInfo("unshare", [.. namespaces, "sh", "-c", whole, peer]) { RedirectStandardOutput = true })!;
        string said = await process.StandardOutput.ReadToEndAsync(Token).WaitAsync(TestTime.Seconds(120), Token);
        await process.WaitForExitAsync(Token);
        TestContext.Current.TestOutputHelper!.WriteLine(said);
        Assert.NotEqual(99, process.ExitCode);
        return said;
    }
}
