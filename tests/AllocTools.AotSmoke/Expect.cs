using System.Runtime.CompilerServices;

namespace AllocTools.AotSmoke;

/// <summary>Checks whose failures name what was checked.</summary>
internal static class Expect
{
    public static void Equal<T>(T expected, T actual, [CallerArgumentExpression(nameof(actual))] string what = "")
    {
        if (!EqualityComparer<T>.Default.Equals(expected, actual))
            throw new CheckFailedException($"{what} is '{actual}'; it should be '{expected}'.");
    }

    public static void True(bool holds, string otherwise)
    {
        if (!holds)
            throw new CheckFailedException(otherwise);
    }

    public static void Throws<TException>(Action action, string what)
        where TException : Exception
    {
        try
        {
            action();
        }
        catch (TException)
        {
            return;
        }
        throw new CheckFailedException($"{what} did not throw {typeof(TException).Name}.");
    }
}
