using System.Collections.Concurrent;
using System.Reflection;
using Xunit;
using Xunit.v3;

namespace AllocTools.Testing;

/// <summary>
/// Collects notes that help to understand a failed test, such as the output of another process. Notes of tests that
/// pass are dropped.
/// </summary>
[AttributeUsage(AttributeTargets.Assembly)]
internal sealed class FailureNotesAttribute : BeforeAfterTestAttribute
{
    private static readonly AsyncLocal<ConcurrentQueue<string>?> Notes = new();

    /// <summary>Gets an action that adds a note to the current test. Any thread may call it while the test runs.</summary>
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
