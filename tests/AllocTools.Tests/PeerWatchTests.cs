using AllocTools.Endpoints.Engine;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Tests the timer that watches the peers of all endpoints of a context.</summary>
public sealed class PeerWatchTests
{
    [Fact]
    public void ALookThatThrowsIsReportedAndTheOthersGoOn()
    {
        FakeTimeProvider time = new();
        List<Exception> reported = [];
        PeerWatch watch = new(time, reported.Add);
        var fault = new InvalidOperationException("a listener's");
        int looks = 0;
        Action faulty = () => throw fault;
        Action sound = () => looks++;
        watch.Add(faulty);
        watch.Add(sound);
        time.Advance(TimeSpan.FromMilliseconds(500));
        Assert.Equal(2, looks);
        Assert.Equal([fault, fault], reported);
        watch.Remove(faulty);
        time.Advance(TimeSpan.FromMilliseconds(250));
        Assert.Equal((3, 2), (looks, reported.Count));
        watch.Remove(sound);
    }
}
