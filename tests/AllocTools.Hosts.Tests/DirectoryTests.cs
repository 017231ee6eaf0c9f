using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests a directory over HTTP on one host, where a second host publishes, and which a third one uses.</summary>
public sealed class DirectoryTests
{
    public static TheoryData<string> Fabrics => [.. Service.Fabrics];

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AHostThatIsCutOffLeavesTheDirectoryAndComesBack(string fabric)
    {
        await using DirectoryBed bed = await DirectoryBed.StartAsync(fabric);
        Assert.Equal("ok", await bed.Owner.AskAsync(bed.Publish));
        Assert.Equal("ok", await bed.Client.AskAsync("keep blocks"));
        Assert.Equal("written to blocks", await bed.Client.AskAsync("write blocks"));
        Assert.Equal("written", await bed.Owner.AskAsync("memory"));
        await bed.Network[1].CutAsync();
        Assert.StartsWith("error ", await bed.Client.AskAsync("write blocks"), StringComparison.Ordinal);
        await bed.BecomesAsync("found");
        await bed.Network[1].RestoreAsync();
        await bed.BecomesAsync("found ");
        Assert.Equal("written to blocks", await bed.Client.AskAsync("write blocks"));
        await AssertIsCleanAsync(bed);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task WhatADeadProcessHasPublishedLeadsNowhereThoughItsAddressIsTaken(string fabric)
    {
        await using DirectoryBed bed = await DirectoryBed.StartAsync(fabric);
        Assert.Equal("ok", await bed.Owner.AskAsync(bed.Publish));
        Assert.Equal("ok", await bed.Client.AskAsync("keep blocks"));
        Assert.Equal("written to blocks", await bed.Client.AskAsync("write blocks"));
        await bed.Owner.KillAsync();
        bed.Owner = bed.StartSide(1, []);
        Assert.Equal("ready", await bed.Owner.AnswerAsync());
        // The address, the port and the name are the same.
        Assert.Equal("ok", await bed.Owner.AskAsync(bed.Publish));
        Assert.StartsWith("error RmaDirectoryException: ", await bed.Client.AskAsync("write blocks"), StringComparison.Ordinal);
        Assert.Equal("untouched", await bed.Owner.AskAsync("memory"));
        // The newest entry belongs to the new process.
        Assert.Equal("ok", await bed.Client.AskAsync("keep blocks"));
        Assert.Equal("written to blocks", await bed.Client.AskAsync("write blocks"));
        Assert.Equal("written", await bed.Owner.AskAsync("memory"));
        await AssertIsCleanAsync(bed);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ADirectoryThatIsKilledIsReportedAndHasEverythingAgainOnceItIsBack(string fabric)
    {
        await using DirectoryBed bed = await DirectoryBed.StartAsync(fabric);
        Assert.Equal("ok", await bed.Owner.AskAsync(bed.Publish));
        Assert.Equal("ok", await bed.Client.AskAsync("keep blocks"));
        await bed.Keeper.KillAsync();
        Assert.StartsWith("error RmaDirectoryException: ", await bed.Client.AskAsync("resolve blocks"), StringComparison.Ordinal);
        // Entries that are already known are used without the directory.
        Assert.Equal("written to blocks", await bed.Client.AskAsync("write blocks"));
        bed.Keeper = bed.StartKeeper([]);
        Assert.Equal("ready", await bed.Keeper.AnswerAsync());
        await bed.BecomesAsync("found ");
        await AssertIsCleanAsync(bed);
    }

    /// <summary>Asserts that nothing is left; the owner's own memory is rented as long as it runs.</summary>
    private static async Task AssertIsCleanAsync(DirectoryBed bed)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        foreach ((PeerProcess process, string expected) in new[] { (bed.Client, "0 0 0"), (bed.Owner, "0 1 0") })
        {
            string left;
            while ((left = await process.AskAsync("left")) != expected)
            {
                Assert.False(limit.IsCancellationRequested, $"Left are {left} (connections, buffers rented, in quarantine), not {expected}.");
                await Task.Delay(20, CancellationToken.None);
            }
        }
    }
}
