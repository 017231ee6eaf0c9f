namespace AllocTools.AotSmoke;

/// <summary>Reports the progress of the run.</summary>
internal static class Step
{
    public static string Last { get; private set; } = "nothing";

    public static void Done(string what)
    {
        Last = what;
        Console.WriteLine(what);
    }
}
