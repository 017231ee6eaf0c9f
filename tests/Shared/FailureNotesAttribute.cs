using System.Collections.Concurrent;
using System.Reflection;
using Xunit;
using Xunit.v3;

namespace AllocTools.Testing;

/// <summary>What is worth to be read where a test has failed, such as what another process said; of one that passes it is dropped.</summary>
[AttributeUsage(AttributeTargets.Assembly)]
internal sealed class FailureNotesAttribute : BeforeAfterTestAttribute
{
    private static readonly AsyncLocal<ConcurrentQueue<string>?> Notes = new();

    /// <summary>A place for notes of the current test, which may be used by any thread as long as it runs.</summary>
    public static Action<string> ForCurrentTest => Notes.Value is { } notes ? notes.Enqueue : _ => { };

    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => Notes.Value = new ConcurrentQueue<string>();

    public override void After(MethodInfo methodUnderTest, IXunitTest test)
    {
        if (TestContext.Current.TestState?.Result != TestResult.Failed || Notes.Value is not { } notes)
            return;
        foreach (string note in notes)
            TestContext.Current.TestOutputHelper?.WriteLine(note);
    }
}
