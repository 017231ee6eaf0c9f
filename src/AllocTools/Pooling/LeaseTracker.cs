using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>
/// Accompanies a watched lease: only the lease's copies refer to it. So if the garbage collector finds it before the
/// lease has ended, nobody can return the buffer any more.
/// </summary>
internal sealed class LeaseTracker : IDisposable
{
    /// <summary>The owner's name if none was in force at the rent.</summary>
    public const string UnknownOwner = "an unknown owner";

    private readonly LeakDetector _detector;

    public LeaseTracker(LeakDetector detector, long length)
    {
        _detector = detector;
        Length = length;
        Owner = RmaOwner.Current ?? UnknownOwner;
        Stack = new StackTrace(skipFrames: 3, fNeedFileInfo: true).ToString();
    }

    /// <summary>Runs when the collector has found that nothing refers to the lease.</summary>
    ~LeaseTracker() => _detector.OnLost(Length, Owner, Stack);

    public long Length { get; }

    public string Owner { get; }

    public string Stack { get; }

    /// <summary>Ends the watch, because the lease has ended.</summary>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        _detector.OnEnded(this);
    }
}
