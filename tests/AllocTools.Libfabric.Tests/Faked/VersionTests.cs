using AllocTools.Regions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests any libfabric from 1.14 to 2.x, with tables as short as those of the oldest and as long as those of the
/// installed headers.
/// </summary>
public sealed class VersionTests
{
    public static TheoryData<string, bool> Versions
    {
        get
        {
            TheoryData<string, bool> data = [];
            foreach (string version in new[] { "1.14", "1.15", "1.16", "1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "2.0", "2.1", "2.7", "2.99" })
            {
                data.Add(version, true);
                data.Add(version, false);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task EachVersionIsReportedAndWorks(string version, bool hasSmallTables)
    {
        FakeLibrary library = FakeLibrary.OfVersion(Version.Parse(version));
        foreach (FakeMode mode in new[] { FakeMode.Tcp, FakeMode.Efa, FakeMode.Cxi, FakeMode.Ucx })
        {
            using var world = new FakeWorld(mode, hasSmallTables: hasSmallTables, library: library);
            var logs = new FakeLogCollector();
            using (var logging = new LoggerFactory([new FakeLoggerProvider(logs)]))
            using (IRmaContext context = world.Open(loggerFactory: logging))
                Assert.Equal(Version.Parse(version), context.Traits.LibraryVersion);
            Assert.Contains($"libfabric {version}", Assert.Single(logs.GetSnapshot()).Message, StringComparison.Ordinal);
            WholeLife life = new(world);
            await life.RunAsync(1);
            Assert.Equal("", life.Told);
            Assert.True(life.ServedAtLast);
        }
    }

    [Theory]
    [InlineData("1.13")]
    [InlineData("1.5")]
    public void AnOlderOneIsRefusedByItsNumber(string version)
    {
        FakeLibrary library = FakeLibrary.OfVersion(Version.Parse(version));
        using var world = new FakeWorld(FakeMode.Tcp, library: library);
        string message = Assert.Throws<RmaProviderException>(() => world.Open()).Message;
        Assert.Contains(version, message, StringComparison.Ordinal);
        Assert.Contains("1.14", message, StringComparison.Ordinal);
    }
}
